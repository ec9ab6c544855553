"""Whole processes: Ctrl-C, forks, the end without stop, and what a long life leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

import minikv

PATIENCE = 60.0


def python(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-X", "faulthandler", "-W", "error", "-c", textwrap.dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background ignores it, and a child would, too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"the process hangs: {out}\n{err}") from None
    return process.returncode, out, err


WAITS = {
    "lock": 'kv.lock("k", owner="b", wait=math.inf)',
    "guard": 'kv.locked("k", wait=math.inf).__enter__()',
    "watch": "next(kv.watch())",
    "next": "kv.watch().next()",
    "get_or_put": 'kv.get_or_put("computed", lambda: 1)',
    "asyncio lock": 'asyncio.run(kv.lock_async("k", owner="b", wait=math.inf))',
    "asyncio watch": "asyncio.run(main())",
    "update": 'kv.update("k", lambda v: time.sleep(1e6), owner="a")',
}


@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_interrupts(wait: str) -> None:
    process = python(
        f"""
        import asyncio, math, threading, time, minikv
        kv = minikv.Registry("ctrl-c")
        kv.put("k", 1)
        kv.lock("k", owner="a")
        started = threading.Event()
        def slow():
            started.set()
            time.sleep(1e6)
        threading.Thread(target=lambda: kv.get_or_put("computed", slow), daemon=True).start()
        started.wait()
        async def main():
            async for event in kv.watch():
                pass
        print("ready")
        try:
            {WAITS[wait]}
        except KeyboardInterrupt:
            print("interrupted", kv.stats()["waiters"], kv["k"])
        """
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert (code, out) == (0, "interrupted 0 1\n"), err


def test_ctrl_c_between_the_items_of_an_endless_iterable() -> None:
    process = python(
        """
        import itertools, minikv
        kv = minikv.Registry()
        print("ready")
        try:
            kv.get_many(itertools.repeat("k"))
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert (code, out) == (0, "interrupted\n"), err


@pytest.mark.parametrize("ending", ["pass", "sys.exit(0)", "1 / 0", "os.kill(os.getpid(), signal.SIGINT)"])
def test_a_process_ends_at_once_without_stop(ending: str) -> None:
    process = python(
        f"""
        import asyncio, atexit, math, os, signal, sys, threading, time, minikv
        kv = minikv.Registry("kept", default_ttl=60)
        unnamed = minikv.Registry()
        for n in range(1000):
            kv.put(n.to_bytes(4, "big"), n, ttl=0.001 * n)
        kv.put("k", 1, persist=True)
        unnamed.put("k", 1)
        held = unnamed.locked("k").__enter__()
        kv.lock("k", owner="a")
        def forever(work):
            while True:
                try:
                    work()
                except minikv.MinikvError:
                    time.sleep(0.001)
        watch = kv.watch()
        async def read():
            async for event in kv.watch():
                pass
        works = [
            lambda: kv.lock("k", owner="b", wait=math.inf),
            lambda: kv.locked("k", wait=0.01).__enter__(),
            lambda: next(watch),
            lambda: asyncio.run(read()),
            lambda: kv.update("n", lambda v: (v or 0) + 1),
            lambda: kv.put("x", 1, ttl=0.001),
            lambda: kv.get_or_put("y", lambda: time.sleep(0.01), ttl=0.001),
            lambda: unnamed.keys(),
        ]
        for work in works:
            threading.Thread(target=forever, args=(work,), daemon=True).start()
        def lost():
            unnamed.put("again", 1)
        held.on_lost(lost)
        held.touch(0.5)
        time.sleep(0.3)
        print("ready")
        # Registered last, called first; that the registry still works then is part of the promise.
        atexit.register(lambda: print("at exit", kv["k"]))
        {ending}
        """
    )
    code, out, err = finish(process)
    assert out == "ready\nat exit 1\n", err
    expected = {"pass": 0, "sys.exit(0)": 0, "1 / 0": 1}.get(ending, -signal.SIGINT)
    assert code == expected, err
    if expected == 0:
        assert err == ""


def test_the_end_does_not_hang_on_callbacks() -> None:
    for _ in range(5):
        process = python(
            """
            import asyncio, threading, minikv
            kv = minikv.Registry()
            scopes = []
            for n in range(300):
                kv.put(f"k{n}", 1, ttl=0.05 + n / 5000)
                scopes.append(kv.locked(f"k{n}"))
                scopes[-1].__enter__().on_lost(lambda: sum(range(10_000)))
            """
        )
        code, _, err = finish(process)
        assert (code, err) == (0, "")


def test_a_forked_child_is_told_and_may_start_its_own(kv: minikv.Registry) -> None:
    kv.put("k", 1)
    kv.put("ttl", 1, ttl=60)
    watch = kv.watch()
    scope = kv.locked("k")
    held = scope.__enter__()
    named = minikv.Registry("forked")
    child = os.fork()
    if child == 0:
        try:
            for call in (
                lambda: kv.get("k"), lambda: kv.put("k", 2), lambda: kv.stats(), lambda: held.put(1),
                lambda: watch.next(1), lambda: watch.try_next(), lambda: kv["k"], lambda: kv.get(""),
                lambda: kv.lock("k", wait=5), lambda: held.release(), lambda: named.keys(),
            ):  # fmt: skip
                try:
                    call()
                except minikv.Forked as error:
                    assert error.kind == "forked"
                else:
                    os._exit(2)
            kv.stop()
            watch.close()
            with minikv.Registry("forked") as own:
                with own.watch() as events:
                    own.put("k", 5, ttl=0.001)
                    types = [event.type for event in (events.next(60), events.next(60)) if event]
                    assert types == ["put", "expire"]
            os._exit(0)
        except BaseException:  # noqa: BLE001 - told by the status
            import traceback

            traceback.print_exc()
            os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert kv["k"] == 1 and not held.lost
    scope.__exit__(None, None, None)
    named.stop()


def test_multiprocessing_by_fork() -> None:
    process = python(
        """
        import multiprocessing, threading, minikv
        context = multiprocessing.get_context("fork")
        kv = minikv.Registry("parent")
        watch = kv.watch()
        kv.put("k", 1, ttl=60)
        busy = True
        def hammer():
            while busy:
                kv.put("x", 1, ttl=0.001)
        thread = threading.Thread(target=hammer)
        thread.start()
        def child(queue):
            try:
                kv.get("k")
            except minikv.Forked:
                own = minikv.Registry("parent")
                own["k"] = 2
                queue.put(own["k"])
        queue = context.Queue()
        for _ in range(10):
            worker = context.Process(target=child, args=(queue,))
            worker.start()
            assert queue.get(timeout=60) == 2
            worker.join(60)
            assert worker.exitcode == 0, worker.exitcode
        busy = False
        thread.join()
        print(kv["k"])
        """
    )
    code, out, err = finish(process)
    assert (code, out) == (0, "1\n"), err


def status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise AssertionError(field)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="counts are read from /proc")
def test_a_thousand_starts_and_stops_leak_nothing() -> None:
    # In a process of its own: threads and files that other tests have left come and go.
    code, out, err = finish(python("""
        import os
        import time

        import minikv

        def status(field):
            with open("/proc/self/status") as lines:
                return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))

        def cycle():
            with minikv.Registry("cycle", default_ttl=60) as kv:
                kv.put("k", "x" * 10_000, ttl=0.001)
                with kv.locked("lock", create=True, lease=5), kv.watch() as watch:
                    kv.put("x", [1])
                    watch.next(60.0)
            unnamed = minikv.Registry()
            unnamed.put("k", b"x" * 10_000, ttl=60)
            held = unnamed.locked("k").__enter__()
            held.on_lost(lambda: None)

        for _ in range(200):
            cycle()
        threads, files = status("Threads"), len(os.listdir("/proc/self/fd"))
        memory = status("VmRSS")
        for _ in range(1000):
            cycle()
        # A thread that was joined may be listed for a moment longer.
        for _ in range(1000):
            if status("Threads") <= threads:
                break
            time.sleep(0.01)
        print(status("Threads") - threads, len(os.listdir("/proc/self/fd")) - files, status("VmRSS") - memory)
    """))
    assert code == 0, err
    threads, files, memory = map(int, out.split())
    assert threads <= 0 and files <= 0
    # 20 MB of values went through; a leak of one in ten would show.
    assert memory < 4_000, "kB"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="counts are read from /proc")
def test_calls_leak_no_references(kv: minikv.Registry) -> None:
    value = {"a": [1, 2.5, "x" * 100, b"y" * 100], "b": None}

    def calls() -> None:
        for n in range(3000):
            kv.put("k", value, ttl=60)
            kv["k"]
            entry = kv.get("k")
            assert entry is not None
            (entry.key, entry.value, entry.version, repr(entry))
            kv.update("k", lambda v: v)
            kv.get_or_put("k", lambda: 1)
            try:
                kv.put("k", [object()])
            except minikv.InvalidValue:
                pass
            try:
                kv.put("k", 1, if_absent=True)
            except minikv.Conflict:
                pass
            kv.keys(limit=1)
            kv.put_many({"a": 1, "b": [n]})

    calls()
    before, objects = status("VmRSS"), sys.getrefcount(value)
    for _ in range(5):
        calls()
    assert sys.getrefcount(value) == objects
    assert status("VmRSS") - before < 4_000, "kB"


def test_a_named_registry_is_seen_by_all_threads() -> None:
    with minikv.Registry("threads") as kv:
        kv["k"] = 0

        def work() -> None:
            for _ in range(100):
                minikv.Registry.open("threads").incr("k")

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert kv["k"] == 400


def test_subinterpreters_are_refused() -> None:
    process = python(
        """
        import minikv
        try:
            import _xxsubinterpreters as interpreters
        except ImportError:
            import _interpreters as interpreters
        other = interpreters.create()
        try:
            told = interpreters.run_string(other, "import minikv")
        except interpreters.RunFailedError as error:
            told = error
        interpreters.destroy(other)
        print("ImportError" in str(told), minikv.Registry().put("k", 1).value)
        """
    )
    code, out, err = finish(process)
    assert (code, out) == (0, "True 1\n"), err


def test_a_timeout_counts_the_time_spent_waiting_for_the_interpreter(kv: minikv.Registry) -> None:
    over = threading.Event()

    def busy() -> None:
        while not over.is_set():
            pass

    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.02)
    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        start = time.monotonic()
        with pytest.raises(minikv.Timeout):
            kv.watch().next(1)
        assert time.monotonic() - start < 1.6, "it was 2.5 and more"
    finally:
        over.set()
        sys.setswitchinterval(interval)
        for thread in threads:
            thread.join()
