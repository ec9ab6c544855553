"""Members of a cluster, in this process and in others."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import minikv

PATIENCE = 60.0
_numbers = itertools.count()


@pytest.fixture
def cluster() -> str:
    """A cluster that nobody else is in."""
    return f"py-{os.getpid()}-{next(_numbers)}"


def start(cluster: str, node: str, *peers: minikv.Registry, **options: Any) -> minikv.Registry:
    known = [endpoint for peer in peers for endpoint in peer.endpoints()]
    return minikv.Registry(
        cluster=cluster, node=node, peers=known, **{"failure_timeout": 2, **options}
    )


@contextlib.contextmanager
def two(cluster: str, **options: Any) -> Iterator[tuple[minikv.Registry, minikv.Registry]]:
    with start(cluster, "a", **options) as a, start(cluster, "b", a, **options) as b:
        a.wait_synced(PATIENCE)
        b.wait_synced(PATIENCE)
        yield a, b


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


def wait_for(watch: minikv.Watch, wanted: minikv.Event) -> None:
    while (event := watch.next(PATIENCE)) != wanted:
        assert event is not None, "the watch has ended"


def states(kv: minikv.Registry) -> dict[str, str]:
    return {member.node: member.state for member in kv.members()}


def test_garbage_on_the_port_is_counted(cluster: str) -> None:
    with start(cluster, "a") as a:
        before = a.stats()["refused"]
        host, port = a.endpoints()[0].rsplit(":", 1)
        with socket.create_connection((host, int(port))) as web:
            web.sendall(b"GET / HTTP/1.1\r\n\r\n")
            until(lambda: a.stats()["refused"] > before)
        with start(cluster, "b", a) as b:
            b.wait_synced(PATIENCE)
            until(lambda: states(a) == {"a": "live", "b": "live"})


def test_what_one_puts_the_other_reads(cluster: str) -> None:
    with two(cluster) as (a, b):
        assert a.ready() and b.ready()
        a["from a"] = {"x": [1, 2.5, b"\xff", None]}
        b["from b"] = "text"
        until(lambda: "from a" in b and "from b" in a)
        entry = b.get("from a")
        assert entry is not None and entry.node == "a" and entry.value == {"x": [1, 2.5, b"\xff", None]}
        until(lambda: states(a) == states(b) == {"a": "live", "b": "live"})
        assert [(m.node, m.state, m.is_self) for m in a.members()] == [
            ("a", "live", True),
            ("b", "live", False),
        ]
        assert a.stats()["members"] == b.stats()["members"] == 2
        until(lambda: b.stats()["replicated_in"] >= 1 and b.stats()["replicated_out"] >= 1)
        until(lambda: len({m.digest for m in a.members()}) == 1)
        [endpoint] = a.endpoints()
        assert endpoint.startswith("127.0.0.1:") and not endpoint.endswith(":0")


def test_a_member_that_leaves_is_told_of(cluster: str) -> None:
    with start(cluster, "a") as a:
        a.wait_synced(PATIENCE)
        watch = a.watch(key="nothing")
        with start(cluster, "b", a) as b:
            b.wait_synced(PATIENCE)
            wait_for(watch, minikv.Event("member", node="b", state="live"))
            b["k"] = 1
            until(lambda: "k" in a)
        wait_for(watch, minikv.Event("owner", node="b", owner="a"))
        until(lambda: states(a).get("b") != "live")
        entry = a.get("k")
        assert entry is not None and entry.node == "a"


CHILD = """
import sys, minikv
cluster, peer = sys.argv[1:]
kv = minikv.Registry(cluster=cluster, node="child", peers=[peer], failure_timeout=0.5)
kv.wait_synced(60)
kv["child"] = kv["parent"] + 1
assert kv.lock("child") is not None
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_killed_process_gives_its_entries_and_locks_up(cluster: str) -> None:
    with start(cluster, "a") as a:
        a.wait_synced(PATIENCE)
        a["parent"] = 41
        watch = a.watch()
        arguments = [sys.executable, "-c", CHILD, cluster, a.endpoints()[0]]
        pipe = subprocess.PIPE
        with subprocess.Popen(arguments, stdin=pipe, stdout=pipe, text=True) as child:
            try:
                assert child.stdout is not None and child.stdout.readline() == "ready\n"
                until(lambda: "child" in a)
                entry = a.get("child")
                assert entry is not None and (entry.value, entry.node) == (42, "child")
                until(lambda: states(a).get("child") == "live")
            finally:
                child.kill()
        wait_for(watch, minikv.Event("owner", node="child", owner="a"))
        locked = a.lock("child", owner="w1", wait=PATIENCE)
        assert locked is not None and locked.node == "a"


def test_locks_exclude_members(cluster: str) -> None:
    with two(cluster) as (a, b):
        a["k"] = 0
        until(lambda: "k" in b)
        with a.locked("k", wait=PATIENCE) as held:
            with pytest.raises(minikv.Locked):
                b.lock("k")
            with pytest.raises(minikv.LockTimeout):
                b.lock("k", wait=0.05)
            held.put(1)
        with b.locked("k", wait=PATIENCE) as held:
            until(lambda: b["k"] == 1)
            held.put(2)


def test_a_put_that_locks_lets_other_threads_run(cluster: str) -> None:
    async def read(watch: minikv.Watch, wanted: set[str]) -> None:
        async for event in watch:
            if event.type == "lock":
                wanted.discard(event.key)
                if not wanted:
                    return

    async def members() -> None:
        with two(cluster) as both:
            wanted = {f"{n}{kind}{at}" for at in range(2) for n in range(5) for kind in "pcs"}
            # Whoever gives the lock calls back into Python on the way.
            tasks = [asyncio.create_task(read(kv.watch(), set(wanted))) for kv in both]
            await asyncio.sleep(0)
            for at, kv in enumerate(both):
                for n in range(5):
                    assert kv.put(f"{n}p{at}", n, lock=True, lease=60).lock
                    assert kv.get_or_put(f"{n}s{at}", lambda: 1, lock=True).lock
                    computed = await kv.get_or_put_async(f"{n}c{at}", lambda: 1, lock=True)
                    assert computed.lock
            with pytest.raises(minikv.Locked):
                both[0].put("0p1", 0, lock=True)
            with pytest.raises(minikv.Conflict):
                both[1].put("0p1", 0, lock=True, if_absent=True)
            await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)

    asyncio.run(members())


def test_a_namesake_is_refused_while_other_threads_run(cluster: str) -> None:
    ticks = 0
    over = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not over.wait(0.001):
            ticks += 1

    with start(cluster, "a") as a:
        a.wait_synced(PATIENCE)
        thread = threading.Thread(target=tick)
        thread.start()
        try:
            before = ticks
            with pytest.raises(minikv.Cluster):
                start(cluster, "a", a)
            assert ticks > before
        finally:
            over.set()
            thread.join()


INTERRUPTED = """
import signal, sys, time, minikv
cluster, peer, what = sys.argv[1:]
options = dict(cluster=cluster, peers=[peer], failure_timeout=60)
if what == "wait":
    options = dict(cluster=cluster + "x", failure_timeout=60)
    kv = minikv.Registry("mine", node="b", **options)
signal.signal(signal.SIGALRM, signal.default_int_handler)
signal.setitimer(signal.ITIMER_REAL, 0.5)
try:
    if what == "start":
        minikv.Registry("mine", node="a", **options)
    else:
        kv.wait_synced()
except KeyboardInterrupt:
    if what == "start":
        with minikv.Registry("mine") as kv:
            assert kv.members()[0].is_self, "what was started is over and its name free"
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("what", ["start", "wait"])
def test_ctrl_c_ends_a_start_and_a_wait(cluster: str, what: str) -> None:
    with start(cluster, "a", failure_timeout=60) as a:
        arguments = [sys.executable, "-c", INTERRUPTED, cluster, a.endpoints()[0], what]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=50)
        assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


def test_an_unfinished_sync_is_a_timeout_that_tells_how_far(cluster: str) -> None:
    # Nobody can be reached: for a failure timeout it may be that somebody will.
    with start(cluster, "a", failure_timeout=60) as a:
        assert a.ready() is False
        for wait in (0, 0.05):
            with pytest.raises(minikv.Timeout) as info:
                a.wait_synced(wait)
            assert isinstance(info.value, TimeoutError)
            with pytest.raises(minikv.Timeout) as later:
                asyncio.run(a.wait_synced_async(wait))
            assert later.value.kind == "timeout"
        [member] = a.members()
        assert member.state == "joining"
        ended: list[BaseException] = []

        def wait_long() -> None:
            try:
                a.wait_synced()
            except BaseException as error:  # noqa: BLE001 - looked at below
                ended.append(error)

        thread = threading.Thread(target=wait_long)
        thread.start()
        a.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive() and isinstance(ended[0], minikv.Stopped)


def test_asyncio(cluster: str) -> None:
    async def members() -> None:
        async with await asyncio.to_thread(start, cluster, "a") as a:
            await a.wait_synced_async(PATIENCE)
            async with await asyncio.to_thread(start, cluster, "b", a) as b:
                await b.wait_synced_async()
                a["k"] = 1
                watch = b.watch(key="k", initial=True)
                async for event in watch:
                    if event.type == "put":
                        break
                async with a.locked("k", wait=PATIENCE):
                    waiting = asyncio.create_task(b.lock_async("k", wait=PATIENCE))
                    await asyncio.sleep(0.05)
                    assert not waiting.done()
                locked = await waiting
                assert locked is not None and locked.lock

    asyncio.run(members())


def test_options_start_the_like_of_a_member(cluster: str, tmp_path: Path) -> None:
    socket = f"unix:{tmp_path}/a.sock"
    if len(socket) > 100:
        socket = "127.0.0.1:0"
    options: Any = {
        "name": cluster, "node": "a", "cluster": cluster, "listen": socket,
        "peers": ("127.0.0.1:1",), "failure_timeout": "100ms",
    }  # fmt: skip
    with minikv.Registry(**options) as kv:
        stored = kv.options()
        assert stored["listen"] == [socket] and stored["peers"] == ["127.0.0.1:1"]
        assert stored["failure_timeout"] == "100ms" and stored["tls"] is None
        same = minikv.Registry(**stored, exist_ok=True)
        assert same.members() == kv.members() and same.endpoints() == kv.endpoints()
    with minikv.Registry(**stored) as again:
        assert again.options() == stored
    assert minikv.Registry(name=cluster).ready(), "the name is free again"
    minikv.Registry.open(cluster).stop()


def test_what_cannot_be_opened_is_io(cluster: str, tmp_path: Path) -> None:
    with start(cluster, "a") as a:
        with pytest.raises(minikv.Io):
            start(cluster, "b", listen=a.endpoints())
    tls = {name: tmp_path / f"{name}.pem" for name in ("ca", "cert", "key")}
    with pytest.raises((minikv.Io, minikv.InvalidArgument), match="pem"):
        start(cluster, "c", tls=tls)


def test_a_forked_child_leaves_the_cluster_alone(cluster: str) -> None:
    with two(cluster) as (a, b):
        child = os.fork()
        if child == 0:
            code = 0
            for call in (a.ready, a.wait_synced, a.members, a.endpoints):
                try:
                    call()
                    code = 1
                except minikv.Forked:
                    pass
            with contextlib.suppress(Exception):
                a.stop()
                minikv.Registry().stop()
            os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        a["after"] = 1
        until(lambda: "after" in b)
