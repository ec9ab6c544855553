"""Members as processes: started, told what to do, frozen, killed; and what must hold between them."""

import contextlib
import itertools
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from concurrent.futures import Future, TimeoutError as NotInTime
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PROGRAMS = {
    "rust": [str(TARGET / "debug/examples/member")],
    "c": [str(TARGET / "processes/member")],
    "python": [str(ROOT / "target/py-venv/bin/python"), str(HERE / "member.py")],
    "node": ["node", str(HERE / "member.js")],
}
TLS = [str(ROOT / "core/tests/certificates" / name) for name in ("ca.pem", "member.pem", "member.key")]
LANGUAGES = os.environ.get("MINIKV_LANGUAGES", "rust,c,python,node").split(",")

# Far longer than anything takes: whoever waits so long waits for ever.
LONG = 90.0
FAILURE_MS = 1000
_ids = itertools.count(1)


class Failed(Exception):
    """A rule does not hold."""


class Gone(Exception):
    """The process ended while an answer was awaited."""


class Refused(Exception):
    """The member answered with an error."""

    def __init__(self, answer):
        super().__init__(f"{answer['error']}: {answer['message']}")
        self.kind = answer["error"]
        self.began, self.ended = answer["began"], answer["ended"]


def check(holds, what):
    if not holds:
        raise Failed(what() if callable(what) else what)


def until(what, condition, timeout=LONG):
    """Waits until the condition gives something true, and returns it."""
    end = time.monotonic() + timeout
    while True:
        found = condition()
        if found:
            return found
        check(time.monotonic() < end, lambda: f"never came: {what() if callable(what) else what}")
        time.sleep(0.02)


class Member:
    """A process, from its start to its end."""

    def __init__(self, cluster, language, node, *, listen=None, peers=(), failure=FAILURE_MS, inside=None, discovery=None):
        self.language, self.node, self.frozen = language, node, False
        self.cluster = cluster
        self._pending, self._lock = {}, threading.Lock()
        self.endpoints, self.error = None, None
        words = [f"node={node}", f"cluster={cluster.name}", f"failure={failure}"]
        if listen:
            words.append(f"listen={listen}")
        if peers:
            words.append("peers=" + ",".join(peers))
        if discovery:
            words.append(f"discovery={discovery}")
        if cluster.secured:
            words.append(f"tls={','.join(TLS)}")
        within = ["ip", "netns", "exec", inside] if inside else []
        self.log = cluster.folder / f"{node}-{next(_ids)}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                within + PROGRAMS[language] + words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | {"RUST_BACKTRACE": "0"},
            )
        cluster.started.append(self)
        self._greeting = Future()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __repr__(self):
        return f"{self.node} ({self.language})"

    def _read(self):
        for line in self.process.stdout:
            answer = json.loads(line)
            if "id" not in answer:
                self._greeting.set_result(answer)
                continue
            with self._lock:
                future = self._pending.pop(answer["id"], None)
            if future:
                future.set_result(answer)
        with self._lock:
            pending, self._pending = self._pending, None
        for future in pending.values():
            future.set_exception(Gone(f"{self} ended"))
        if not self._greeting.done():
            self._greeting.set_result({"error": "gone", "message": self.last_words()})

    def wait_started(self):
        try:
            greeting = self._greeting.result(LONG)
        except NotInTime:
            raise Failed(f"{self} does not start") from None
        check("error" not in greeting, lambda: f"{self} did not start: {greeting}")
        self.endpoints = greeting["endpoints"]
        return self

    def last_words(self):
        return self.log.read_text(errors="replace")[-500:]

    def refusal(self):
        """The error with which the start failed."""
        greeting = self._greeting.result(LONG)
        check("error" in greeting, lambda: f"{self} started")
        return greeting

    def send(self, verb, *words, beside=False, **options):
        """Tells the member something; the answer comes later."""
        number, future = next(_ids), Future()
        parts = [str(number)] + (["&"] if beside else []) + [verb, *map(str, words)]
        parts += [f"{name}={value}" for name, value in options.items() if value is not None]
        line = " ".join(parts)
        check(line.split() == parts, f"a word with a space: {line}")
        with self._lock:
            if self._pending is None:
                raise Gone(f"{self} ended")
            self._pending[number] = future
            try:
                self.process.stdin.write(f"{line}\n".encode())
                self.process.stdin.flush()
            except (BrokenPipeError, ValueError):
                raise Gone(f"{self} ended") from None
        future.what = verb
        return future

    def answer(self, future, timeout=LONG):
        """The whole answer, with its times."""
        try:
            answer = future.result(timeout)
        except NotInTime:
            raise Failed(f"{self} does not answer to {future.what}") from None
        if "error" in answer:
            raise Refused(answer)
        return answer

    def full(self, verb, *words, **options):
        return self.answer(self.send(verb, *words, **options))

    def call(self, verb, *words, **options):
        return self.full(verb, *words, **options)["ok"]

    def refused(self, verb, *words, **options):
        """The kind of error of a call that must fail."""
        try:
            result = self.call(verb, *words, **options)
        except Refused as error:
            return error.kind
        raise Failed(f"{self}: {verb} {words} was not refused: {result}")

    def synced(self):
        self.call("sync", int(LONG * 1000))
        return self

    def freeze(self):
        self.frozen = True
        self.process.send_signal(signal.SIGSTOP)
        # It takes effect a little later.
        state = Path(f"/proc/{self.process.pid}/stat")
        if state.exists():
            until(f"{self} stands still", lambda: state.read_text().rsplit(")", 1)[1].split()[0] == "T")

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)
        self.frozen = False

    def kill(self):
        self.process.kill()
        self.process.wait(LONG)
        self._reader.join(LONG)

    def end_of_input(self):
        with contextlib.suppress(BrokenPipeError, ValueError):
            self.process.stdin.close()

    def ended(self, what, code=0):
        """Waits until the process has ended of itself."""
        try:
            status = self.process.wait(LONG)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self} hangs after {what}: {where_it_hangs(self.process.pid)}") from None
        self._reader.join(LONG)
        check(status == code, lambda: f"{self} ended with {status} instead of {code} after {what}: {self.last_words()}")

    def stop(self):
        """Stops the registry, then ends the program."""
        self.call("stop")
        self.end_of_input()
        self.ended("stop")

    def abandon(self):
        """Whatever it does: it goes."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.end_of_input()


def where_it_hangs(pid):
    """What its threads wait for, as far as the system tells."""
    lines = []
    for task in sorted(Path(f"/proc/{pid}/task").glob("*")):
        with contextlib.suppress(OSError):
            lines.append(f"{(task / 'comm').read_text().strip()}:{(task / 'wchan').read_text().strip()}")
    return ", ".join(lines)


class Cluster:
    """The processes of one case, and a folder for their sockets. All of them end with it."""

    _numbers = itertools.count(1)

    def __init__(self):
        self.name = f"processes-{os.getpid()}-{next(Cluster._numbers)}"
        self.folder = Path(tempfile.mkdtemp(prefix="minikv-"))
        self.started = []
        # Whether they prove to each other who they are.
        self.secured = False

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for member in self.started:
            member.abandon()
        if kind is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            print(f"       what the members wrote to stderr is in {self.folder}")
        return False

    def begin(self, language, node, **options):
        return Member(self, language, node, **options)

    def member(self, language, node, peers=(), **options):
        """Starts a member that joins those given, and waits until it is synced."""
        endpoints = [endpoint for peer in peers for endpoint in peer.endpoints]
        return self.begin(language, node, peers=endpoints, **options).wait_started().synced()

    def members(self, *languages, **options):
        """One of each, all linked to each other; named a, b, c and so on."""
        made = []
        for number, language in enumerate(languages):
            made.append(self.member(language, chr(ord("a") + number), made, **options))
        all_live(made)
        return made

    def socket(self, name):
        return f"unix:{self.folder / name}"


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def live(member):
    return {m["node"] for m in member.call("members") if m["state"] == "live"}


def all_live(members):
    """Waits until all see all as live."""
    names = {member.node for member in members}
    for member in members:
        until(lambda: f"{member} sees {names} live: {member.call('members')}", lambda: names <= live(member))


def dump(member, prefix=""):
    return {entry["key"]: entry for entry in member.call("dump", *([prefix] if prefix else []))}


def converged(members, prefix="", roots=True):
    """Waits until all tables are equal; then no key, or none with the prefix, differs in anything."""

    def equal():
        digests = {member.call("digest") for member in members}
        if len(digests) > 1:
            return False
        return not roots or len({root for member in members for root in shown_roots(member, members)}) == 1

    try:
        until("equal digests", equal)
    except Failed:
        raise Failed("the tables never become equal: " + differences(members, prefix)) from None
    # Equal digests, and still one could differ in what they leave out: who has it, since when, which lock.
    until(
        lambda: f"{differences(members, prefix)}; {[sorted(live(member)) for member in members]}",
        lambda: not differences(members, prefix),
        timeout=20,
    )


def shown_roots(member, members):
    names = {other.node for other in members}
    return [m["digest"] for m in member.call("members") if m["state"] == "live" and m["node"] in names]


def differences(members, prefix):
    dumps = [dump(member, prefix) for member in members]
    found = []
    for member, other in zip(members[1:], dumps[1:]):
        keys = [key for key in dumps[0].keys() | other.keys() if dumps[0].get(key) != other.get(key)]
        if keys:
            key = min(keys)
            found.append(
                f"{members[0]} and {member} differ in {len(keys)} keys, such as {key}: "
                f"{dumps[0].get(key)} and {other.get(key)}"
            )
    return "; ".join(found)


def in_parallel(*works):
    """Runs all at once; the first error is raised."""
    results, errors = [None] * len(works), queue.Queue()

    def run(place, work):
        try:
            results[place] = work()
        except BaseException as error:  # noqa: BLE001
            errors.put(error)

    threads = [threading.Thread(target=run, args=at, daemon=True) for at in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5 * LONG)
        check(not thread.is_alive(), "a thread of the test hangs")
    if not errors.empty():
        raise errors.get()
    return results
