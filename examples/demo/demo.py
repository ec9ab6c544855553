"""demo INPUT: puts the lines of a file, counts their words under locks, waits for tickets to expire.

Prints one line of JSON; the progress goes to stderr.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import minikv

LANGUAGE = "Python"
PATIENCE = 30.0


class Progress:
    """A bar that is rewritten in place, or one line for each phase where nobody looks."""

    def __init__(self, phase: str, total: int) -> None:
        self.phase, self.total, self.shown = phase, total, -1
        self.terminal = sys.stderr.isatty()
        self.at(0)

    def at(self, done: int) -> None:
        percent = 100 * done // self.total if self.total else 100
        if percent == self.shown or (not self.terminal and percent < 100):
            return
        self.shown = percent
        bar = "#" * (percent // 5) + "-" * (20 - percent // 5)
        line = f"{LANGUAGE:6} {self.phase:6} [{bar}] {percent:3}%"
        end = "\n" if percent == 100 else ""
        print(f"\r{line}" if self.terminal else line, end=end, file=sys.stderr, flush=True)


def words(line: bytes) -> int:
    return sum(1 for word in line.replace(b"\t", b" ").split(b" ") if word)


def put(kv: minikv.Registry, lines: list[bytes]) -> int:
    progress = Progress("put", len(lines))
    tickets = 0
    for i, line in enumerate(lines):
        text: str | bytes
        try:
            text = line.decode()
        except UnicodeDecodeError:
            text = line
        kv.put(f"line:{i:06}", {"text": text}, ttl="1h")
        if i % 4 == 0:
            kv.put(f"ticket:{i:06}", i, ttl=timedelta(milliseconds=300))
            tickets += 1
        progress.at(i + 1)
    return tickets


def work(kv: minikv.Registry, lines: list[bytes]) -> None:
    progress = Progress("work", len(lines))
    for i, line in enumerate(lines):
        with kv.locked(f"line:{i:06}") as held:
            entry = held.get()
            if entry is None:
                raise RuntimeError(f"line {i} is gone")
            held.put({**entry.value, "words": words(line)}, keep_ttl=True)
        progress.at(i + 1)


def expire(watch: minikv.Watch, tickets: int) -> tuple[int, int]:
    progress = Progress("expire", tickets)
    locks = expired = 0
    deadline = time.monotonic() + PATIENCE
    while expired < tickets:
        event = watch.next(max(0.0, deadline - time.monotonic()))
        if event is None or event.type == "lagged":
            raise RuntimeError("events were lost")
        locks += event.type == "lock"
        expired += event.type == "expire"
        progress.at(expired)
    # Whatever is queued already, so that no lock goes uncounted.
    while (event := watch.try_next()) is not None:
        locks += event.type == "lock"
    return locks, expired


def run(path: str) -> dict[str, Any]:
    started = time.monotonic()
    lines = Path(path).read_bytes().split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    with minikv.Registry("demo") as kv, kv.watch(capacity=1_048_576) as watch:
        tickets = put(kv, lines)
        work(kv, lines)
        locks, expired = expire(watch, tickets)
        return {
            "language": LANGUAGE,
            "entries": kv.count("line:"),
            "locks": locks,
            "expired": expired,
            "seconds": round(time.monotonic() - started, 3),
            "digest": kv.digest(),
        }


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: demo.py INPUT", file=sys.stderr)
        return 1
    try:
        print(json.dumps(run(sys.argv[1])))
    except (OSError, RuntimeError, minikv.MinikvError) as error:
        print(f"demo: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
