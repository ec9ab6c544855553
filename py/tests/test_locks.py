"""Locks, guards and functions that are called back."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import pytest

import minikv

PATIENCE = 60.0


class Thread(threading.Thread):
    """A thread that hands on what its function returned or raised."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self.work = work
        self.result: Any = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self.work()
        except BaseException as error:  # noqa: BLE001 - handed on
            self.error = error

    def done(self) -> Any:
        self.join(PATIENCE)
        assert not self.is_alive(), "the thread is stuck"
        if self.error is not None:
            raise self.error
        return self.result


def wait_for_waiters(kv: minikv.Registry, count: int) -> None:
    turn = threading.Event()
    for _ in range(int(PATIENCE * 1000)):
        if kv.stats()["waiters"] == count:
            return
        turn.wait(0.001)
    raise AssertionError(f"never {count} waiters: {kv.stats()}")


def test_a_lock_is_waited_for_and_handed_on(kv: minikv.Registry) -> None:
    kv.put("k", 1)
    kv.lock("k", owner="a")
    with pytest.raises(minikv.Locked) as info:
        kv.lock("k", owner="b")
    assert not isinstance(info.value, minikv.LockTimeout)
    with pytest.raises(minikv.LockTimeout):
        kv.lock("k", owner="b", wait=0.02)
    waiting = Thread(lambda: kv.lock("k", owner="b", wait=math.inf))
    wait_for_waiters(kv, 1)
    kv.unlock("k", owner="a")
    entry = waiting.done()
    assert entry.lock and entry.holder.owner == "b"


def test_stop_ends_every_wait(kv: minikv.Registry) -> None:
    kv.put("k", 1)
    kv.lock("k", owner="a")
    scope = kv.locked("k", wait=math.inf)
    waiting = [
        Thread(lambda: kv.lock("k", owner="b", wait=math.inf)),
        Thread(lambda: scope.__enter__()),
    ]
    wait_for_waiters(kv, 2)
    watching = Thread(lambda: list(kv.watch()))
    while kv.stats()["watchers"] == 0:
        pass
    kv.stop()
    for thread in waiting:
        with pytest.raises(minikv.Stopped):
            thread.done()
    assert watching.done() == []


def test_guards(kv: minikv.Registry) -> None:
    kv.put("k", 1)
    with kv.locked("k") as held:
        assert held.key == "k" and held.fence > 0 and held.owner and not held.lost
        with pytest.raises(minikv.Locked):
            kv.put("k", 0)
        with pytest.raises(minikv.Locked):
            kv.locked("k").__enter__()
        assert held.put(2, ttl=60).value == 2
        assert held.put(5, keep_ttl=True).exp is not None
        assert held.incr().value == 6 and held.incr(4).value == 10
        entry = held.update(lambda value: value * 2)
        assert entry is not None and entry.value == 20 and entry.holder is not None
        assert entry.holder.owner == held.owner and entry.fence == held.fence
        touched, persisted = held.touch(5), held.persist()
        assert touched is not None and touched.exp is not None
        assert persisted is not None and persisted.exp is None
        assert held.update(lambda value: minikv.KEEP) == held.get()
        with pytest.raises(minikv.InvalidValue):
            held.put(object())
        with pytest.raises(minikv.InvalidArgument):
            held.incr(1.5)  # type: ignore[arg-type]
        held.check()
        assert repr(held).startswith("<minikv.LockGuard of 'k'")
    after = kv.get("k")
    assert after is not None and not after.lock and after.value == 20
    with pytest.raises(minikv.LockLost):
        held.put(1)
    held.release()


def test_a_scope_serves_one_block(kv: minikv.Registry) -> None:
    kv.put("k", 1)
    scope = kv.locked("k")
    with scope:
        pass
    with pytest.raises(minikv.InvalidArgument, match="entered before"), scope:
        pass
    with pytest.raises(minikv.NotFound), kv.locked("absent"):
        pass


def test_create(kv: minikv.Registry) -> None:
    with kv.locked("new", create=True) as held:
        entry = held.get()
        assert entry is not None and entry.value is None
    assert "new" not in kv
    with kv.locked("new", create=True) as held:
        held.put(1)
    assert kv["new"] == 1
    with kv.locked("new") as held:
        held.delete()
    assert "new" not in kv


def test_a_lost_lock_is_told(manual: minikv.Registry) -> None:
    kv = manual
    kv.put("k", 1, ttl=10)
    told: list[str] = []
    with pytest.raises(minikv.LockLost), kv.locked("k") as held:
        held.on_lost(lambda: told.append("first"))
        kv.advance(10)
        assert held.lost and told == ["first"]
        held.on_lost(lambda: told.append("late"))
        assert told == ["first", "late"]
        with pytest.raises(minikv.LockLost):
            held.get()
        with pytest.raises(minikv.LockLost):
            held.update(lambda value: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        kv.put("k", 1, ttl=10)
        with kv.locked("k") as held:
            kv.advance(10)
            raise ZeroDivisionError("this one is in flight")


def test_a_lease_is_renewed(manual: minikv.Registry) -> None:
    manual.put("k", 1)
    with manual.locked("k", lease=1) as held:
        manual.advance(100)
        assert not held.lost
        held.put(2)


def test_a_raising_callback_harms_nobody(
    manual: minikv.Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", lambda args: seen.append(args.exc_value))
    manual.put("k", 1, ttl=1)
    scope = manual.locked("k")
    held = scope.__enter__()
    held.on_lost(lambda: 1 / 0)
    held.on_lost(lambda _needed: None)  # type: ignore[misc, arg-type]
    manual.advance(2)
    assert [type(error) for error in seen] == [ZeroDivisionError, TypeError]


def test_a_callback_may_use_the_registry(manual: minikv.Registry) -> None:
    kv = manual
    done: list[Any] = []

    def callback() -> None:
        kv.put("from callback", 1)
        with pytest.raises(minikv.InvalidArgument, match="advance"):
            kv.advance(1)
        done.append(kv["from callback"])

    kv.put("k", 1, ttl=1)
    scope = kv.locked("k")
    scope.__enter__().on_lost(callback)
    kv.advance(2)
    assert done == [1]
    kv.put("k", 1, ttl=1)
    scope = kv.locked("k")
    scope.__enter__().on_lost(kv.stop)
    kv.advance(2)
    with pytest.raises(minikv.Stopped):
        kv.get("k")


def test_callbacks_of_the_sweeper_do_not_deadlock_with_stop() -> None:
    for _ in range(50):
        kv = minikv.Registry()
        scope = kv.locked("k", create=True)
        held = scope.__enter__()
        lost = threading.Event()
        held.on_lost(lost.set)
        assert held.touch(0.001)
        if _ % 2:
            assert lost.wait(PATIENCE)
        kv.stop()


def test_guards_exclude_threads(kv: minikv.Registry) -> None:
    kv.put("k", 0)

    def work() -> None:
        for _ in range(50):
            with kv.locked("k", wait=PATIENCE) as held:
                entry = held.get()
                assert entry is not None
                held.put(entry.value + 1)

    threads = [Thread(work) for _ in range(4)]
    for thread in threads:
        thread.done()
    assert kv["k"] == 200


class Own(Exception):
    pass


def test_update(kv: minikv.Registry) -> None:
    seen: list[Any] = []

    def note(value: Any) -> Any:
        seen.append(value)
        return value

    default = object()
    with pytest.raises(minikv.InvalidValue):
        kv.update("k", note, default=default)
    assert seen == [default]
    assert kv.update("k", lambda value: minikv.KEEP) is None
    assert kv.update("k", lambda value: minikv.DELETE) is None
    entry = kv.update("k", lambda value: [value], default=1)
    assert entry is not None and entry.value == [1]
    error = Own("mine")

    def throw(value: Any) -> Any:
        value.append(2)
        raise error

    calls: list[Callable[[], Any]] = [
        lambda: kv.update("k", throw),
        lambda: kv.locked("k").__enter__().update(throw),
    ]
    for call in calls:
        with pytest.raises(Own) as info:
            call()
        assert info.value is error
    assert kv["k"] == [1], "what the function got was a copy"
    removed = kv.update("k", lambda value: minikv.DELETE)
    assert removed is not None and removed.value == [1] and "k" not in kv


def test_update_is_repeated_when_somebody_writes_in_between(kv: minikv.Registry) -> None:
    kv.put("k", 0)
    calls: list[int] = []

    def slow(value: int) -> int:
        calls.append(value)
        if len(calls) == 1:
            Thread(lambda: kv.incr("k", 10)).done()
        return value + 1

    entry = kv.update("k", slow)
    assert entry is not None and entry.value == 11 and calls == [0, 10]


def test_a_callback_may_call_everything(kv: minikv.Registry) -> None:
    def nested(value: Any) -> Any:
        kv.put("other", 1)
        kv.update("third", lambda value: 5)
        return kv.get_or_put("fourth", lambda: kv["third"]).value

    entry = kv.update("k", nested)
    assert entry is not None and entry.value == 5


def test_get_or_put(kv: minikv.Registry) -> None:
    started, go = threading.Event(), threading.Event()
    calls: list[int] = []

    def compute() -> int:
        calls.append(1)
        started.set()
        assert go.wait(PATIENCE)
        return 42

    first = Thread(lambda: kv.get_or_put("k", compute))
    assert started.wait(PATIENCE)
    others = [Thread(lambda: kv.get_or_put("k", compute)) for _ in range(5)]
    go.set()
    assert [thread.done().value for thread in (first, *others)] == [42] * 6
    assert calls == [1]
    error = Own("mine")

    def throw() -> Any:
        raise error

    with pytest.raises(Own) as info:
        kv.get_or_put("new", throw)
    assert info.value is error and "new" not in kv
    with pytest.raises(minikv.InvalidArgument, match="own computation"):
        kv.get_or_put("new", lambda: kv.get_or_put("new", lambda: 1).value)
    assert kv.get_or_put("new", lambda: 1, ttl=60).exp is not None


def test_a_failed_computation_lets_the_next_try(kv: minikv.Registry) -> None:
    started, go = threading.Event(), threading.Event()

    def fail() -> Any:
        started.set()
        assert go.wait(PATIENCE)
        raise Own

    first = Thread(lambda: kv.get_or_put("k", fail))
    assert started.wait(PATIENCE)
    second = Thread(lambda: kv.get_or_put("k", lambda: 2))
    go.set()
    with pytest.raises(Own):
        first.done()
    assert second.done().value == 2
