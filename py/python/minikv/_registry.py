"""The registry: the native one, and what asyncio and mappings add."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from . import _aio, _minikv
from ._errors import InvalidArgument, MinikvError
from ._mapping import Data

if TYPE_CHECKING:
    from ._minikv import Entry
    from ._types import Duration, Key


class _Computing:
    """A key that is being computed."""

    __slots__ = ("key", "over", "registry")

    def __init__(self, registry: Registry, key: Key) -> None:
        # An unnamed registry has one handle only.
        self.registry = registry.name or registry
        self.key = key.encode() if isinstance(key, str) else bytes(key)
        self.over = False

    def same(self, other: _Computing) -> bool:
        return self.registry == other.registry and self.key == other.key


# What the present task computes, so that it does not wait for itself. Tasks that were started on the
# way inherit it and may live on, so each tells whether it is over.
_computing: contextvars.ContextVar[tuple[_Computing, ...]] = contextvars.ContextVar(
    "minikv_computing", default=()
)


class Registry(_minikv.Registry):
    """A key-value registry in this process.

    name: under which Registry.open() finds it from any thread; None: only its object reaches it. A
    named registry runs until stop(), the end of its ``with`` block, or the end of the process.
    node: which entries carry as their owner; default "local".
    default_ttl: for entries that are put without a ttl; default None, they do not expire.
    max_value_bytes: the largest encoded value; default and maximum 16 MiB.
    max_entries, max_bytes: limits; default None. max_watchers: default 1,024.
    lock_lease: for locks that are taken without a lease; default None, they do not end by themselves.
    clock: "system" (the default) or "manual", which starts at 1,700,000,000 s and is moved by advance().
    cluster: the name of a cluster to be a member of; default None, no cluster and no sockets. Every
    member holds every entry. What follows belongs to it: node should then be a name of its own.
    listen: where, as ``"host:port"`` (port 0: a free one) or ``"unix:/path"``, one or a list; default
    ``"127.0.0.1:0"``. peers: a list of endpoints to dial; those that cannot be reached are tried again.
    discovery: "multicast" finds members in the local network; default None.
    failure_timeout: how long a member may be silent until it is taken for dead; default 2.5 s.
    tls: the paths of PEM files, ``{"ca": ..., "cert": ..., "key": ...}``; default None, not encrypted.
    exist_ok: if a registry of this name runs already with the same options, opens it.

    Raises AlreadyStarted, InvalidArgument (UnknownOption for a misspelt one); in a cluster Cluster if a
    live member has the same node name, Io if it cannot listen. Registry(**kv.options()) starts the like
    of a registry. In a cluster it may wait for others, also when it stops: under asyncio start it with
    ``await asyncio.to_thread(minikv.Registry, ...)``; ``async with`` stops it without blocking.

    ``kv[key]``, ``kv[key] = value``, ``del kv[key]``, ``key in kv``, ``len(kv)`` and iteration over the
    keys work with plain values; ``kv.data`` is a real mapping. Every method may be called from any
    thread.

    >>> import minikv
    >>> kv = minikv.Registry()
    >>> kv["name"] = "ann"
    >>> kv.update("name", str.upper).value
    'ANN'
    >>> kv.stop()
    """

    __slots__ = ()

    @property
    def data(self) -> Data:
        """The values as a MutableMapping."""
        return Data(self)

    async def lock_async(
        self,
        key: Key,
        *,
        owner: str | None = None,
        wait: Duration | None = None,
        lease: Duration | None = None,
        put: Any = ...,
        ttl: Duration | None = None,
        persist: bool | None = None,
        keep_ttl: bool | None = None,
        if_absent: bool | None = None,
        fence: int | None = None,
        if_version: str | None = None,
    ) -> Entry | None:
        """As lock(), without blocking the event loop. Cancelled, it leaves the queue or unlocks."""
        stored = {} if put is ... else {"put": put}
        pending = self._lock_start(
            key,
            owner=owner,
            wait=wait,
            lease=lease,
            ttl=ttl,
            persist=persist,
            keep_ttl=keep_ttl,
            if_absent=if_absent,
            fence=fence,
            if_version=if_version,
            **stored,
        )
        entry: Entry | None = await _aio.settle(pending)
        return entry

    async def unlock_async(
        self,
        key: Key,
        *,
        owner: str | None = None,
        fence: int | None = None,
        if_version: str | None = None,
    ) -> Entry | None:
        """As unlock()."""
        return self.unlock(key, owner=owner, fence=fence, if_version=if_version)

    async def get_or_put_async(
        self,
        key: Key,
        fn: Callable[[], Any],
        *,
        ttl: Duration | None = None,
        persist: bool | None = None,
        keep_ttl: bool | None = None,
        if_absent: bool | None = None,
        lock: bool | None = None,
        lease: Duration | None = None,
        owner: str | None = None,
        fence: int | None = None,
        if_version: str | None = None,
    ) -> Entry:
        """As get_or_put(), without blocking the event loop; ``fn`` may be an async function."""
        while True:
            step = self._get_or_put_start(
                key,
                fn,
                ttl=ttl,
                persist=persist,
                keep_ttl=keep_ttl,
                if_absent=if_absent,
                lock=lock,
                lease=lease,
                owner=owner,
                fence=fence,
                if_version=if_version,
            )
            if isinstance(step, _minikv.Entry):
                return step
            if isinstance(step, _minikv._Computation):
                waits = bool(lock) and self._in_cluster
                return await self._compute(step, key, fn, waits)
            wanted = _Computing(self, key)
            if any(mine.same(wanted) and not mine.over for mine in _computing.get()):
                message = "get_or_put was called for a key from within its own computation"
                raise InvalidArgument(message)
            entry: Entry | None = await _aio.settle(step)
            if entry is not None:
                return entry

    async def _compute(
        self, step: _minikv._Computation, key: Key, fn: Callable[[], Any], waits: bool
    ) -> Entry:
        mine = _Computing(self, key)
        reset = _computing.set((*_computing.get(), mine))
        try:
            value = fn()
            if inspect.isawaitable(value):
                value = await value
            if waits:
                # For whoever gives the lock.
                return await asyncio.to_thread(step.put, value)
            return step.put(value)
        finally:
            mine.over = True
            _computing.reset(reset)
            step.abandon()

    async def wait_synced_async(self, timeout: Duration | None = None) -> None:
        """As wait_synced(), without blocking the event loop."""
        pending, seconds = self._sync_start(timeout)
        try:
            async with asyncio.timeout(seconds):
                await _aio.settle(pending)
        except TimeoutError as error:
            if isinstance(error, MinikvError):
                raise
            # It tells how far it is.
            self.wait_synced(0)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._in_cluster:
            # It takes its leave of the others.
            await asyncio.to_thread(self.__exit__, kind, error, trace)
        else:
            self.__exit__(kind, error, trace)


Registry.__module__ = "minikv"
