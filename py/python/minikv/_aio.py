"""Waiting in asyncio: the core calls back on any thread, the loop is told thread-safely."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._minikv import Event, LockGuard, LockScope, Watch, _Pending


def _waker() -> tuple[asyncio.Future[None], Callable[[], None]]:
    """A future, and a callback for any thread that completes it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def complete() -> None:
        if not future.done():
            future.set_result(None)

    def wake() -> None:
        try:
            loop.call_soon_threadsafe(complete)
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            pass

    return future, wake


async def settle(pending: _Pending) -> Any:
    """The result of a request. Cancelled, it leaves the queue or gives back what was granted."""
    while True:
        done, result = pending.take()
        if done:
            return result
        future, wake = _waker()
        pending.on_ready(wake)
        try:
            await future
        except BaseException:
            pending.cancel()
            raise


async def enter(scope: LockScope) -> LockGuard:
    """The start of ``async with kv.locked(...)``."""
    guard: LockGuard = await settle(scope._begin())
    scope._entered(guard)
    return guard


async def leave(scope: LockScope, failing: bool) -> None:
    """The end of ``async with kv.locked(...)``."""
    scope._finish(failing)


_EVENTS_PER_TURN = 32
_events = itertools.count(1)


async def next_event(watch: Watch) -> Event:
    """The next event of a watch; the end of the watch ends the iteration."""
    if next(_events) % _EVENTS_PER_TURN == 0:
        # Whoever reads a busy watch never waits; other tasks, and cancelling this one, need a turn.
        await asyncio.sleep(0)
    while True:
        closed = watch.closed
        event = watch.try_next()
        if event is not None:
            return event
        if closed:
            raise StopAsyncIteration
        future, wake = _waker()
        token = watch._arm(wake)
        try:
            await future
        finally:
            watch._disarm(token)
