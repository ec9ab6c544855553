"""Drives the demo: starts a member in each language, kills one, starts it again, and checks what came of it.

run.py [INPUT] [--items N] [--seconds S] [--kill MEMBER]: the programs have been built by run.sh, which gives them
in MINIKV_DEMO_RUST, _C, _PYTHON and _NODE. The exit code is 0 if all checks hold.
"""

from __future__ import annotations

import argparse
import collections
import os
import pathlib
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable

LANGUAGES = ("rust", "c", "python", "node")
# On every Debian: the time zone rules of the world, which are in the public domain; else the package list.
INPUTS = ("/usr/share/zoneinfo/tzdata.zi", "/var/lib/dpkg/status", "/usr/share/common-licenses/GPL-3")
PATIENCE = 60.0
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Failure(Exception):
    """The demo cannot go on."""


class Interrupted(Exception):
    """Somebody wants it to end."""


class Member:
    """A process, and what it has said."""

    def __init__(self, name: str, command: list[str], place: str) -> None:
        self.name, self.place = name, place
        self.state = "starts"
        self.killed = False
        self.endpoint = self.incarnation = ""
        self.claims: dict[str, int] = {}
        self.claimed = self.lost = 0
        self.done: list[tuple[str, int]] = []
        self.told: dict[str, list[list[str]]] = collections.defaultdict(list)
        self.rest: dict[int, bytes] = collections.defaultdict(bytes)
        # A group of its own: Ctrl-C reaches the driver alone, which ends its members.
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")

    def hear(self, line: str) -> None:
        match line.split():
            case ["ready", endpoint, incarnation]:
                self.endpoint, self.incarnation = endpoint, incarnation
                self.state = "is ready"
            case ["claim", key, fence]:
                self.state = f"has {key}"
                self.claims[key] = int(fence)
                self.claimed += 1
            case ["done", key, fence]:
                self.claims.pop(key, None)
                self.done.append((key, int(fence)))
            case ["lost", key, _]:
                self.claims.pop(key, None)
                self.lost += 1
            case ["over"]:
                self.state = "has no more to do"
            case ["end"]:
                self.state = "has reported"
            case [kind, *fields]:
                self.told[kind].append(fields)


class View:
    """The progress: drawn again and again in a terminal, else a line for what is new."""

    def __init__(self, total: int) -> None:
        self.total, self.started = total, time.monotonic()
        self.terminal = sys.stderr.isatty()
        self.drawn = self.tenths = 0
        self.at = 0.0

    def note(self, text: str) -> None:
        self.erase()
        print(f"{time.monotonic() - self.started:6.1f} s  {text}", file=sys.stderr, flush=True)

    def erase(self) -> None:
        if self.drawn:
            print(f"\x1b[{self.drawn}A\x1b[J", end="", file=sys.stderr)
        self.drawn = 0

    def show(self, members: list[Member], last: bool = False) -> None:
        done = sum(len(member.done) for member in members)
        now = time.monotonic()
        if self.terminal and (last or now - self.at > 0.1):
            self.at = now
            width = shutil.get_terminal_size().columns - 1
            lines = [f"  {member.name:7}{bar(len(member.done), self.total)} {member.state}" for member in members]
            lines.append(f"  {'all':7}{bar(done, self.total)} of {self.total} items")
            self.erase()
            print("\n".join(line[:width] for line in lines), file=sys.stderr, flush=True)
            self.drawn = 0 if last else len(lines)
        elif not self.terminal and done * 10 // max(self.total, 1) != self.tenths:
            self.tenths = done * 10 // max(self.total, 1)
            each = ", ".join(f"{member.name} {len(member.done)}" for member in members)
            self.note(f"{done} of {self.total} items: {each}")


def bar(done: int, total: int) -> str:
    full = 30 * done // max(total, 1)
    return f"[{'#' * full:-<30}] {done:6}"


class Demo:
    def __init__(self, path: str, lines: list[bytes], seconds: float) -> None:
        self.path, self.lines, self.seconds = path, lines, seconds
        self.pause = seconds * 1000 * len(LANGUAGES) / max(len(lines), 1)
        self.members: list[Member] = []
        self.view = View(len(lines))
        self.selector = selectors.DefaultSelector()
        self.interrupted = False
        for number in INTERRUPTS:
            signal.signal(number, self.interrupt)

    def interrupt(self, *_: object) -> None:
        self.interrupted = True

    def live(self) -> list[Member]:
        return [member for member in self.members if not member.killed]

    def done(self) -> int:
        return sum(len(member.done) for member in self.members)

    def start(self, name: str) -> Member:
        peers = [member.endpoint for member in self.live() if member.endpoint]
        program = shlex.split(os.environ[f"MINIKV_DEMO_{name.upper()}"])
        again = any(member.name == name for member in self.members)
        arguments = [name, self.path, str(len(self.lines)), f"{self.pause:.3f}", *peers]
        member = Member(name, [*program, *arguments], "again" if again else "")
        self.members.append(member)
        for stream in (member.process.stdout, member.process.stderr):
            assert stream is not None
            self.selector.register(stream, selectors.EVENT_READ, member)
        return member

    def read(self, timeout: float) -> None:
        """Takes in what the members say within that time."""
        if self.interrupted:
            raise Interrupted
        for key, _ in self.selector.select(timeout):
            member: Member = key.data
            data = os.read(key.fd, 1 << 16)
            if not data:
                self.selector.unregister(key.fileobj)
            *lines, member.rest[key.fd] = (member.rest[key.fd] + data).split(b"\n")
            for line in lines:
                if key.fileobj is member.process.stdout:
                    member.hear(line.decode())
                else:
                    self.view.note(f"{member.name}: {line.decode(errors='replace')}")
        self.view.show(self.members)

    def until(self, what: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE + 2 * self.seconds
        while not condition():
            for member in self.live():
                if member.process.poll() is not None and member.state != "has reported":
                    self.read(0)
                    raise Failure(f"{member.name} ended with {member.process.returncode}")
            if time.monotonic() > deadline:
                states = ", ".join(f"{member.name} {member.state}" for member in self.live())
                raise Failure(f"waited in vain until {what}: {states}")
            self.read(0.05)

    def kill(self, victim: Member) -> None:
        """Ends a member in the middle of an item. It is stopped first, so that it is known what it holds."""
        while True:
            self.until(f"{victim.name} claims an item", lambda: bool(victim.claims))
            time.sleep(self.pause / 4000)
            victim.process.send_signal(signal.SIGSTOP)
            while not stopped(victim.process.pid):
                time.sleep(0.001)
            self.read(0)
            if victim.claims:
                break
            victim.process.send_signal(signal.SIGCONT)
        victim.process.kill()
        victim.process.wait()
        victim.killed = True
        held = " and ".join(victim.claims)
        victim.state = f"was killed, had {held}"
        self.view.note(f"{victim.name} is killed with kill -9; it holds {held}")

    def run(self, kill: str) -> None:
        total = len(self.lines)
        first = self.start(LANGUAGES[0])
        self.until("the first member is there", lambda: first.state == "is ready")
        self.view.note(f"{first.name} is there and has put {total} items")
        for name in LANGUAGES[1:]:
            self.start(name)
        self.until("all have joined", lambda: all(member.state == "is ready" for member in self.members))
        self.view.note("all have joined: " + ", ".join(f"{m.name} {m.endpoint}" for m in self.members))
        for member in self.members:
            member.say("go")
        self.until("half is done", lambda: self.done() >= total / 2)
        victim = next(member for member in self.members if member.name == kill)
        self.kill(victim)
        self.until("more is done", lambda: self.done() >= total * 0.6)
        late = self.start(kill)
        self.view.note(f"{kill} is started again")
        self.until("it has joined", lambda: late.state == "is ready")
        self.view.note(f"{kill} has joined, incarnation {late.incarnation[:8]}")
        late.say("go")
        self.until("all is done", lambda: all(m.state == "has no more to do" for m in self.live()))
        for member in self.live():
            member.say(f"report {len(LANGUAGES)}")
        self.until("all have reported", lambda: all(m.state == "has reported" for m in self.live()))
        self.view.show(self.members, last=True)
        for member in self.live():
            assert member.process.stdin is not None
            member.process.stdin.close()
        for member in self.live():
            if member.process.wait(PATIENCE) != 0:
                raise Failure(f"{member.name} ended with {member.process.returncode}")

    def close(self) -> None:
        for member in self.members:
            if member.process.poll() is None:
                member.process.kill()
        for member in self.members:
            member.process.wait()


def stopped(pid: int) -> bool:
    options = os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, pid, options) is not None


def words(line: bytes) -> int:
    return sum(1 for word in line.replace(b"\t", b" ").split(b" ") if word)


def check(demo: Demo) -> int:
    """Prints who did what and what of it can be proved; returns how much is wrong."""
    failed = 0
    live = demo.live()
    killed = [member for member in demo.members if member not in live]
    items = {item[0]: item[1:] for item in live[0].told["item"]}

    for member in killed:
        for key, fence in list(member.claims.items()):
            if items.get(key, ("", ""))[1] == str(fence):
                # It had finished this one, and had no time to say so.
                member.done.append((key, member.claims.pop(key)))
    orphans = {key: fence for member in killed for key, fence in member.claims.items()}

    def hold(what: str, wrong: object) -> None:
        nonlocal failed
        failed += bool(wrong)
        print(f"  {'FAILED' if wrong else 'ok    '} {what}" + (f": {str(wrong)[:300]}" if wrong else ""))

    print(f"\n{'member':15}{'incarnation':13}{'claimed':>8}{'finished':>9}{'lost':>6}{'taken over':>11}  digest of the contents")
    for member in demo.members:
        taken = sum(key in orphans for key, _ in member.done)
        digest = member.told["digest"][0][0] if member.told["digest"] else "killed with kill -9"
        name = f"{member.name} {member.place}"
        print(f"{name:15}{member.incarnation[:8]:13}{member.claimed:8}{len(member.done):9}{member.lost:6}{taken:11}  {digest}")

    print(f"\nWhat {len(live)} members say of {len(demo.lines)} items:")
    finished = collections.Counter(done for member in demo.members for done in member.done)
    by = {done: member for member in demo.members for done in member.done}
    keys = [f"item:{number:06}" for number in range(len(demo.lines))]
    hold("every item is there and finished", set(items) ^ set(keys))
    counted = {key: str(words(line)) for key, line in zip(keys, demo.lines, strict=True)}
    hold("its words are counted right", [key for key, item in items.items() if item[2] != counted.get(key)])
    wrong = []
    for key, (name, fence, _) in items.items():
        done = (key, int(fence))
        if finished[done] != 1 or by[done].name != name:
            wrong.append((key, name, fence))
    hold("under its fence exactly one member put the result, the one it names", wrong)
    twice = [done for done in finished if str(done[1]) != items.get(done[0], ("", ""))[1]]
    unseen = [done for done in twice if by[done] in killed]
    hold("nobody finished an item that another had finished", [done for done in twice if done not in unseen])
    seen = {member: collections.Counter(key for [key] in member.told["saw"]) for member in live}
    always = [member for member in live if not member.place]
    wrong = [(m.name, key, seen[m][key]) for m in always for key in keys if seen[m][key] != 1]
    hold(f"{len(always)} members saw each item being finished exactly once", wrong)
    wrong = [(m.name, key) for m in live if m.place for key in keys if seen[m][key] > 1]
    hold("the late one saw none twice", wrong)
    wrong = [(key, fence) for key, fence in orphans.items() if int(items[key][1]) <= fence]
    hold(f"what the killed one held ({', '.join(orphans)}) was finished under a greater fence", wrong or not orphans)
    everyone = sorted(member.incarnation for member in live)
    wrong = [m.name for m in live if sorted(told[1] for told in m.told["member"]) != everyone]
    hold("each knows the same live members", wrong)
    hold("and the same digests of all", len({told[2] for m in live for told in m.told["member"]}) != 1)
    hold("and holds the same contents", len({str(sorted(m.told["item"])) + str(m.told["digest"]) for m in live}) != 1)
    if unseen:
        print(f"  note: {unseen} was lost with the killed member, before anybody else knew of it, and done again")
    return failed


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of items")
    return int(text)


def duration(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 3600")
    return seconds


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Members in four languages share the lines of a file as items.")
    parser.add_argument("input", nargs="?", default="", help="a file; default: the time zone rules")
    parser.add_argument("--items", type=count, default=5000, help="how many of its lines at most; default 5000")
    parser.add_argument("--seconds", type=duration, default=12, help="how long the work takes about; default 12")
    parser.add_argument("--kill", choices=LANGUAGES, default="c", help="who is killed; default c, which gives the locks")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    path = given.input or next((path for path in INPUTS if os.access(path, os.R_OK)), INPUTS[0])
    try:
        lines = pathlib.Path(path).read_bytes().split(b"\n")
    except OSError as error:
        print(f"cannot read {path}: {error.strerror}; name another file: make demo INPUT=path", file=sys.stderr)
        return 1
    if lines[-1] == b"":
        lines.pop()
    print(f"input: {path}, the first {min(len(lines), given.items)} of {len(lines)} lines", file=sys.stderr)
    if min(len(lines), given.items) < 40:
        print("that is too little to share: at least 40 lines are needed", file=sys.stderr)
        return 1
    demo = Demo(path, lines[: given.items], given.seconds)
    try:
        demo.run(given.kill)
    except Interrupted:
        demo.view.note("interrupted: all members are ended")
        return 130
    except (Failure, OSError, subprocess.TimeoutExpired) as error:
        demo.view.note(f"demo: {error}")
        return 1
    finally:
        demo.close()
    if check(demo):
        print("\nthe demo FAILED")
        return 1
    print("\nall four languages hold the same, and every item was finished exactly once")
    return 0


if __name__ == "__main__":
    sys.exit(main())
