"""demo NODE INPUT ITEMS PAUSE_MS [PEER...]: a member of the demo's cluster. The same program in four languages.

The first member has no peers and puts the lines of the input as items. Every member claims items with
lock, counts their words and finishes them with put; what it does it writes to standard output,
what to do comes from standard input: "go", then "report MEMBERS". At the end of that it leaves.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import minikv

# Claims of a member that was killed are free after twice this time.
FAILURE_TIMEOUT = 0.5
PATIENCE = 30.0


def tell(*words: object) -> None:
    print(*words, flush=True)


def load(kv: minikv.Registry, path: str, items: int) -> None:
    """Puts the items: each is the line itself until it is finished."""
    for number, line in enumerate(Path(path).read_bytes().split(b"\n")[:items]):
        text: str | bytes
        try:
            text = line.decode()
        except UnicodeDecodeError:
            text = line
        kv.put(f"item:{number:06}", text)


def work(kv: minikv.Registry, node: str, pause: float) -> None:
    todo = sorted(str(key) for key in kv.keys("item:"))
    # At first without waiting; what others have claimed then is waited for: they finish it, or die.
    wait = 0.0
    while todo:
        left = []
        for key in todo:
            seen = kv.get(key)
            if seen is None:
                raise RuntimeError(f"{key} is gone")
            if is_finished(seen):
                continue
            if (seen.lock and not wait) or not settle(kv, node, key, wait, pause):
                left.append(key)
        todo, wait = left, FAILURE_TIMEOUT
    tell("over")


def settle(kv: minikv.Registry, node: str, key: str, wait: float, pause: float) -> bool:
    """Finishes an item, unless somebody else has it. False: it has to be looked at again."""
    try:
        entry = kv.lock(key, wait=wait)
    except (minikv.Locked, minikv.Cluster):
        # Cluster: whoever gives locks died just now, and another takes over.
        return False
    if entry is None:
        raise RuntimeError(f"{key} is gone")
    fence = entry.fence
    try:
        if not is_finished(entry):
            tell("claim", key, fence)
            time.sleep(pause)
            kv.put(key, {"by": node, "fence": fence, "words": words(entry.value)}, fence=fence)
            tell("done", key, fence)
        kv.unlock(key, fence=fence)
    except (minikv.Locked, minikv.StaleFence):
        # The others took this member for dead: whoever has the item now finishes it.
        tell("lost", key, fence)
        return False
    return True


def is_finished(entry: minikv.Entry) -> bool:
    return entry.type == "map"


def words(line: str | bytes) -> int:
    data = line.encode() if isinstance(line, str) else line
    return sum(1 for word in data.replace(b"\t", b" ").split(b" ") if word)


def report(kv: minikv.Registry, watch: minikv.Watch, members: int) -> None:
    """Waits until so many live members hold the same, then tells what that is, and what was seen on the way."""
    deadline = time.monotonic() + PATIENCE
    while True:
        live = [member for member in kv.members() if member.state == "live"]
        if len(live) == members and len({member.digest for member in live}) == 1:
            break
        if time.monotonic() > deadline:
            raise RuntimeError(f"the members do not agree: {live}")
        time.sleep(0.02)
    for member in live:
        tell("member", member.node, member.incarnation, member.digest)
    tell("digest", kv.digest())
    for entry in kv.entries("item:"):
        item = entry.value
        tell("item", entry.key, item["by"], item["fence"], item["words"])
    # Every finished item that arrived here since the start, a second time if there was one.
    while (event := watch.try_next()) is not None:
        if event.type == "lagged":
            raise RuntimeError("the watch was too slow")
        if event.type == "put" and event.entry and is_finished(event.entry):
            tell("saw", event.key)
    tell("end")


def run(node: str, path: str, items: int, pause: float, peers: list[str]) -> None:
    with minikv.Registry(
        "demo", cluster="demo", node=node, peers=peers, failure_timeout=FAILURE_TIMEOUT
    ) as kv:
        kv.wait_synced(PATIENCE)
        if not peers:
            load(kv, path, items)
        with kv.watch("item:", capacity=1 << 20) as watch:
            own = next(member for member in kv.members() if member.is_self)
            tell("ready", kv.endpoints()[0], own.incarnation)
            for line in sys.stdin:
                match line.split():
                    case ["go"]:
                        work(kv, node, pause)
                    case ["report", members]:
                        report(kv, watch, int(members))
                    case _:
                        raise RuntimeError(f"what is {line!r}?")


def main() -> int:
    if len(sys.argv) < 5:
        print("usage: demo NODE INPUT ITEMS PAUSE_MS [PEER...]", file=sys.stderr)
        return 1
    node, path, items, pause, *peers = sys.argv[1:]
    try:
        run(node, path, int(items), float(pause) / 1000, peers)
    except (OSError, RuntimeError, ValueError, minikv.MinikvError) as error:
        print(f"demo: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
