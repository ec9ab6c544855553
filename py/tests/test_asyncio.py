"""asyncio: nothing blocks the loop, cancelling gives everything back."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

import minikv

PATIENCE = 60.0


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async def limited() -> Any:
        return await asyncio.wait_for(main(), PATIENCE)

    return asyncio.run(limited(), debug=True)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_lock_async(kv: minikv.Registry) -> None:
    async def main() -> None:
        kv.put("k", 1)
        assert await kv.lock_async("absent") is None
        entry = await kv.lock_async("k", owner="a", lease=60)
        assert entry is not None and entry.lock
        with pytest.raises(minikv.Locked):
            await kv.lock_async("k", owner="b")
        with pytest.raises(minikv.LockTimeout):
            await kv.lock_async("k", owner="b", wait=0.01)
        with pytest.raises(minikv.InvalidKey):
            await kv.lock_async("")
        with pytest.raises(minikv.InvalidArgument):
            await kv.lock_async("k", wait="x")
        waiting = asyncio.create_task(kv.lock_async("k", owner="b", wait=math.inf))
        await until(lambda: kv.stats()["waiters"] == 1)
        unlocked = await kv.unlock_async("k", owner="a")
        assert unlocked is not None and not unlocked.lock
        entry = await waiting
        assert entry is not None and entry.holder == minikv.Holder("local", "b")
        stored = await kv.lock_async("new", put=None, owner="c", ttl=60)
        assert stored is not None and stored.value is None and stored.exp is not None

    run(main)


def test_a_cancelled_wait_leaves_the_queue(kv: minikv.Registry) -> None:
    async def main() -> None:
        kv.put("k", 1)
        kv.lock("k", owner="a")

        async def scoped() -> None:
            async with kv.locked("k", wait=math.inf):
                raise AssertionError("was cancelled")

        waits: list[Callable[[], Awaitable[Any]]] = [
            lambda: kv.lock_async("k", owner="b", wait=math.inf),
            scoped,
        ]
        for wait in waits:
            task = asyncio.ensure_future(wait())
            await until(lambda: kv.stats()["waiters"] == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert kv.stats()["waiters"] == 0
            # Granted and cancelled in one turn of the loop: it is given back.
            task = asyncio.ensure_future(wait())
            await until(lambda: kv.stats()["waiters"] == 1)
            kv.unlock("k", owner="a")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            entry = kv.get("k")
            assert entry is not None and not entry.lock
            kv.lock("k", owner="a")

    run(main)


def test_async_guards_exclude_each_other(kv: minikv.Registry) -> None:
    async def main() -> None:
        kv.put("k", 0)

        async def work() -> None:
            for _ in range(20):
                async with kv.locked("k", wait=PATIENCE) as held:
                    entry = held.get()
                    assert entry is not None
                    await asyncio.sleep(0)
                    held.put(entry.value + 1)

        await asyncio.gather(*(work() for _ in range(10)))
        assert kv["k"] == 200
        with pytest.raises(minikv.NotFound):
            async with kv.locked("absent"):
                pass
        with pytest.raises(minikv.LockLost):
            async with kv.locked("k") as held:
                kv.delete("k", owner=held.owner)
        kv.put("k", 1)
        with pytest.raises(ZeroDivisionError):
            async with kv.locked("k") as held:
                kv.delete("k", owner=held.owner)
                raise ZeroDivisionError

    run(main)


def test_async_for(kv: minikv.Registry) -> None:
    async def main() -> None:
        seen: list[Any] = []

        async def read() -> None:
            async for event in kv.watch("n:"):
                seen.append(event.key)

        task = asyncio.create_task(read())
        await until(lambda: kv.stats()["watchers"] == 1)
        thread = threading.Thread(target=lambda: [kv.put(f"n:{n}", n) for n in range(100)])
        thread.start()
        await until(lambda: len(seen) == 100)
        thread.join()
        assert seen == [f"n:{n}" for n in range(100)]
        kv.stop()
        await task

    run(main)


def test_waiting_for_events_can_be_cancelled_and_leaks_nothing(kv: minikv.Registry) -> None:
    async def main() -> None:
        watch = kv.watch()
        for _ in range(20):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(watch), 0.001)
        token = watch._arm(lambda: None)
        assert token == 20
        kv.put("k", 1)
        assert (await anext(watch)).key == "k"
        one, two = (asyncio.ensure_future(anext(watch)) for _ in range(2))
        await asyncio.sleep(0)
        kv.put("a", 1)
        kv.put("b", 1)
        assert {(await one).key, (await two).key} == {"a", "b"}
        watch.close()
        with pytest.raises(StopAsyncIteration):
            await anext(watch)

    run(main)


def test_get_or_put_async(kv: minikv.Registry) -> None:
    async def main() -> None:
        calls: list[int] = []
        go = asyncio.Event()

        async def compute() -> int:
            calls.append(1)
            await go.wait()
            return 42

        tasks = [asyncio.create_task(kv.get_or_put_async("k", compute)) for _ in range(5)]
        await until(lambda: calls == [1])
        go.set()
        assert [(await task).value for task in tasks] == [42] * 5 and calls == [1]
        assert (await kv.get_or_put_async("plain", lambda: 1, ttl=60)).exp is not None

        async def recursive() -> Any:
            return (await kv.get_or_put_async("own", recursive)).value

        with pytest.raises(minikv.InvalidArgument, match="own computation"):
            await kv.get_or_put_async("own", recursive)
        with pytest.raises(minikv.InvalidValue):
            await kv.get_or_put_async("bad", object)

        # Cancelled while it computes: the next one computes.
        go.clear()
        first = asyncio.create_task(kv.get_or_put_async("c", compute))
        await until(lambda: len(calls) == 2)
        second = asyncio.create_task(kv.get_or_put_async("c", lambda: 7))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).value == 7
        with pytest.raises(asyncio.CancelledError):
            await first

    run(main)


def test_sync_and_async_callers_share_a_computation(kv: minikv.Registry) -> None:
    async def main() -> None:
        started, go = threading.Event(), threading.Event()

        def compute() -> int:
            started.set()
            assert go.wait(PATIENCE)
            return 1

        loop = asyncio.get_running_loop()
        first = loop.run_in_executor(None, kv.get_or_put, "k", compute)
        await until(started.is_set)
        second = asyncio.create_task(kv.get_or_put_async("k", lambda: 2))
        await asyncio.sleep(0)
        go.set()
        assert (await second).value == (await first).value == 1

    run(main)


def test_async_with_a_registry() -> None:
    async def main() -> None:
        async with minikv.Registry("aio") as kv:
            async with minikv.Registry.open("aio") as same:
                same["k"] = 1
            assert kv["k"] == 1
        with pytest.raises(minikv.Stopped):
            kv.get("k")

    run(main)


def test_a_loop_that_closed_before_the_lock_came(kv: minikv.Registry) -> None:
    kv.put("k", 1)
    kv.lock("k", owner="a")
    loop = asyncio.new_event_loop()

    async def begin() -> None:
        task = asyncio.ensure_future(kv.lock_async("k", owner="b", wait=math.inf))
        kept.append(task)
        await until(lambda: kv.stats()["waiters"] == 1)

    kept: list[asyncio.Task[Any]] = []
    loop.run_until_complete(begin())
    loop.close()
    kv.unlock("k", owner="a")
    entry = kv.get("k")
    assert entry is not None and entry.holder is not None and entry.holder.owner == "b"
    # The task never ends; that it is dropped gives the lock back.
    task = kept.pop()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    del task
    import gc

    gc.collect()
    entry = kv.get("k")
    assert entry is not None and not entry.lock


def test_a_computation_is_recognised_through_another_handle() -> None:
    with minikv.Registry("handles") as kv:

        async def inner() -> Any:
            await minikv.Registry.open("handles").get_or_put_async("k", lambda: 1)

        async def main() -> None:
            with pytest.raises(minikv.InvalidArgument, match="its own computation"):
                await kv.get_or_put_async("k", inner)

        run(main)


def test_a_task_that_outlives_the_computation_may_wait_for_the_next(kv: minikv.Registry) -> None:
    async def main() -> None:
        go = asyncio.Event()
        tasks: list[asyncio.Task[Any]] = []

        async def later() -> Any:
            await go.wait()
            return (await kv.get_or_put_async("k", lambda: 3)).value

        async def first() -> int:
            tasks.append(asyncio.create_task(later()))
            return 1

        async def second() -> int:
            go.set()
            await asyncio.sleep(0.05)
            return 2

        await kv.get_or_put_async("k", first)
        kv.delete("k")
        # In a context of its own: this one computes, the task from before waits for it.
        await asyncio.create_task(kv.get_or_put_async("k", second))
        assert await tasks[0] == 2

    run(main)


def test_a_busy_watch_lets_other_tasks_run(kv: minikv.Registry) -> None:
    async def main() -> None:
        async def read() -> None:
            with kv.watch() as watch:
                kv["k"] = 0
                async for _ in watch:
                    kv["k"] = 0

        reading = asyncio.create_task(read())
        await asyncio.sleep(0.01)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    run(main)


def test_what_is_called_must_be_callable(kv: minikv.Registry) -> None:
    bad: Any = 5
    kv.put("k", 1)

    async def main() -> None:
        for key in ("k", "absent"):
            with pytest.raises(minikv.InvalidArgument):
                await kv.get_or_put_async(key, bad)

    run(main)
    with kv.locked("k") as held:
        with pytest.raises(minikv.InvalidArgument):
            held.update(bad)
        with pytest.raises(minikv.InvalidArgument):
            held.on_lost(bad)
    with pytest.raises(minikv.LockLost):
        held.update(bad)


def test_a_guard_freed_by_a_travelling_exception(kv: minikv.Registry) -> None:
    async def main() -> None:
        kv.put("k", 1)
        held = [kv.locked("k").__enter__()]
        waiting = asyncio.create_task(kv.lock_async("k", owner="w", wait=PATIENCE))
        await until(lambda: kv.stats()["waiters"] == 1)
        with pytest.raises(ZeroDivisionError):
            print(held.pop(), 1 / 0)
        entry = await waiting
        assert entry is not None and entry.holder == minikv.Holder("local", "w")

    run(main)
