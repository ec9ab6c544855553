"""Native half of the package `minikv`. Import `minikv`, not this."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from os import PathLike
from typing import Any, ClassVar, Final, Never, Self, final

from typing_extensions import disjoint_base

from ._types import Duration, Holder, Key, Options, Page, Stats, Value

__all__ = [
    "Entry",
    "Event",
    "LockGuard",
    "LockScope",
    "MAX_DEPTH",
    "MAX_KEY_BYTES",
    "MAX_VALUE_BYTES",
    "Member",
    "Registry",
    "Watch",
    "_Computation",
    "_Pending",
    "_after_fork",
    "_before_exit",
    "_restore_entry",
]


MAX_DEPTH: Final[int]
MAX_KEY_BYTES: Final[int]
MAX_VALUE_BYTES: Final[int]

def _before_exit() -> None: ...
def _after_fork() -> None: ...
def _restore_entry(state: tuple[Any, ...]) -> Entry: ...

@final
class Entry:
    @property
    def key(self) -> Any: ...
    @property
    def key_bytes(self) -> bytes: ...
    @property
    def value(self) -> Any: ...
    @property
    def type(self) -> str: ...
    @property
    def node(self) -> str: ...
    @property
    def time(self) -> int: ...
    @property
    def exp(self) -> int | None: ...
    @property
    def expires_in(self) -> float | None: ...
    @property
    def lock(self) -> bool: ...
    @property
    def holder(self) -> Holder | None: ...
    @property
    def fence(self) -> int | None: ...
    @property
    def version(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

@final
class Event:
    __match_args__: ClassVar[tuple[str, str, str, str]]
    def __new__(
        cls,
        type: str,
        key: Any = None,
        entry: Entry | None = None,
        count: int = 1,
        node: str | None = None,
        state: str | None = None,
        owner: str | None = None,
    ) -> Self: ...
    @property
    def type(self) -> str: ...
    @property
    def key(self) -> Any: ...
    @property
    def entry(self) -> Entry | None: ...
    @property
    def count(self) -> int: ...
    @property
    def node(self) -> str | None: ...
    @property
    def state(self) -> str | None: ...
    @property
    def owner(self) -> str | None: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

@final
class Member:
    __match_args__: ClassVar[tuple[str, str, str]]
    def __new__(
        cls,
        node: str,
        incarnation: str,
        state: str = ...,
        lag: int = 0,
        digest: str | None = None,
        is_self: bool = False,
        namesake: bool = False,
    ) -> Self: ...
    @property
    def node(self) -> str: ...
    @property
    def incarnation(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def lag(self) -> int: ...
    @property
    def digest(self) -> str | None: ...
    @property
    def is_self(self) -> bool: ...
    @property
    def namesake(self) -> bool: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

@final
class Watch:
    def __iter__(self) -> Self: ...
    def __next__(self) -> Event: ...
    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> Event: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...
    def next(self, timeout: Duration | None = None) -> Event | None: ...
    def try_next(self) -> Event | None: ...
    @property
    def closed(self) -> bool: ...
    def close(self) -> None: ...
    def _arm(self, callback: Callable[[], object]) -> int: ...
    def _disarm(self, token: int) -> None: ...

@final
class LockGuard:
    @property
    def key(self) -> Any: ...
    @property
    def fence(self) -> int: ...
    @property
    def owner(self) -> str: ...
    @property
    def lost(self) -> bool: ...
    def on_lost(self, callback: Callable[[], object]) -> None: ...
    def check(self) -> None: ...
    def get(self) -> Entry | None: ...
    def put(
        self,
        value: Value,
        *,
        ttl: Duration | None = None,
        persist: bool | None = None,
        keep_ttl: bool | None = None,
        if_absent: bool | None = None,
        if_version: str | None = None,
    ) -> Entry: ...
    def delete(self) -> Entry | None: ...
    def incr(self, by: int | None = None) -> Entry: ...
    def update(self, fn: Callable[[Any], Any], *, default: Any = None) -> Entry | None: ...
    def touch(self, ttl: Duration) -> Entry | None: ...
    def persist(self) -> Entry | None: ...
    def release(self) -> None: ...

@final
class LockScope:
    def __enter__(self) -> LockGuard: ...
    def __exit__(self, *exception: object) -> None: ...
    async def __aenter__(self) -> LockGuard: ...
    async def __aexit__(self, *exception: object) -> None: ...
    def _begin(self) -> _Pending: ...
    def _entered(self, guard: LockGuard) -> None: ...
    def _finish(self, failing: bool) -> None: ...

@final
class _Pending:
    def take(self) -> tuple[bool, Any]: ...
    def on_ready(self, callback: Callable[[], object]) -> None: ...
    def cancel(self) -> None: ...

@final
class _Computation:
    def put(self, value: Value) -> Entry: ...
    def abandon(self) -> None: ...

@disjoint_base
class Registry:
    # `unknown` is here to be refused: a misspelt option is an error for the type checker as well.
    def __new__(
        cls,
        name: str | None = None,
        *,
        node: str | None = None,
        default_ttl: Duration | None = None,
        max_value_bytes: int | None = None,
        max_entries: int | None = None,
        max_bytes: int | None = None,
        max_watchers: int | None = None,
        lock_lease: Duration | None = None,
        clock: str | None = None,
        cluster: str | None = None,
        listen: str | list[str] | tuple[str, ...] | None = None,
        peers: str | list[str] | tuple[str, ...] | None = None,
        discovery: str | None = None,
        failure_timeout: Duration | None = None,
        tls: Mapping[str, str | PathLike[str]] | None = None,
        exist_ok: bool | None = None,
        **unknown: Never,
    ) -> Self: ...
    @classmethod
    def open(cls, name: str) -> Self: ...
    @classmethod
    def from_config(cls, path: str | PathLike[str], *, exist_ok: bool | None = None) -> Self: ...
    def stop(self) -> None: ...
    def options(self) -> Options: ...
    def stats(self) -> Stats: ...
    def ready(self) -> bool: ...
    def wait_synced(self, timeout: Duration | None = None) -> None: ...
    def _sync_start(self, timeout: Duration | None = None) -> tuple[_Pending, float | None]: ...
    def members(self) -> list[Member]: ...
    def endpoints(self) -> list[str]: ...
    @property
    def _in_cluster(self) -> bool: ...
    @property
    def name(self) -> str | None: ...
    def get(self, key: Key) -> Entry | None: ...
    def value(self, key: Key, default: Any = None) -> Any: ...
    def contains(self, key: Key) -> bool: ...
    def put(
        self,
        key: Key,
        value: Value,
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
    ) -> Entry: ...
    def set(
        self,
        key: Key,
        value: Value,
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
    ) -> Entry: ...
    def delete(
        self,
        key: Key,
        *,
        owner: str | None = None,
        fence: int | None = None,
        if_version: str | None = None,
    ) -> Entry | None: ...
    def lock(
        self,
        key: Key,
        *,
        owner: str | None = None,
        wait: Duration | None = None,
        lease: Duration | None = None,
        put: Value = ...,
        ttl: Duration | None = None,
        persist: bool | None = None,
        keep_ttl: bool | None = None,
        if_absent: bool | None = None,
        fence: int | None = None,
        if_version: str | None = None,
    ) -> Entry | None: ...
    def _lock_start(
        self,
        key: Key,
        *,
        owner: str | None = None,
        wait: Duration | None = None,
        lease: Duration | None = None,
        put: Value = ...,
        ttl: Duration | None = None,
        persist: bool | None = None,
        keep_ttl: bool | None = None,
        if_absent: bool | None = None,
        fence: int | None = None,
        if_version: str | None = None,
    ) -> _Pending: ...
    def locked(
        self,
        key: Key,
        *,
        owner: str | None = None,
        wait: Duration | None = None,
        lease: Duration | None = None,
        create: bool | None = None,
        fence: int | None = None,
        if_version: str | None = None,
    ) -> LockScope: ...
    def unlock(
        self,
        key: Key,
        *,
        owner: str | None = None,
        fence: int | None = None,
        if_version: str | None = None,
    ) -> Entry | None: ...
    def persist(
        self,
        key: Key,
        *,
        owner: str | None = None,
        fence: int | None = None,
        if_version: str | None = None,
    ) -> Entry | None: ...
    def touch(
        self,
        key: Key,
        ttl: Duration,
        *,
        owner: str | None = None,
        fence: int | None = None,
        if_version: str | None = None,
    ) -> Entry | None: ...
    def incr(
        self,
        key: Key,
        by: int | None = None,
        *,
        owner: str | None = None,
        fence: int | None = None,
        if_version: str | None = None,
    ) -> Entry: ...
    def update(
        self,
        key: Key,
        fn: Callable[[Any], Any],
        *,
        default: Any = None,
        owner: str | None = None,
        fence: int | None = None,
        if_version: str | None = None,
    ) -> Entry | None: ...
    def get_or_put(
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
    ) -> Entry: ...
    def _get_or_put_start(
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
    ) -> Entry | _Computation | _Pending: ...
    def get_many(self, keys: Iterable[Key]) -> list[Entry | None]: ...
    def put_many(
        self,
        items: Mapping[Any, Any] | Iterable[tuple[Key, Any] | list[Any]],
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
    ) -> list[Entry]: ...
    def delete_many(
        self,
        keys: Iterable[Key],
        *,
        owner: str | None = None,
        fence: int | None = None,
        if_version: str | None = None,
    ) -> list[Entry | None]: ...
    def keys(
        self,
        prefix: Key | None = None,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        raw: bool | None = None,
    ) -> Page[Any]: ...
    def entries(
        self,
        prefix: Key | None = None,
        *,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[Entry]: ...
    def count(self, prefix: Key | None = None) -> int: ...
    def clear(self, prefix: Key | None = None, *, owner: str | None = None) -> int: ...
    def digest(self) -> str: ...
    def watch(
        self,
        prefix: Key | None = None,
        *,
        key: Key | None = None,
        initial: bool | None = None,
        capacity: int | None = None,
    ) -> Watch: ...
    def advance(self, by: Duration) -> None: ...
    def __getitem__(self, key: Key, /) -> Any: ...
    def __setitem__(self, key: Key, value: Any, /) -> None: ...
    def __delitem__(self, key: Key, /) -> None: ...
    def __contains__(self, key: object, /) -> bool: ...
    def __len__(self) -> int: ...
    def __bool__(self) -> bool: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...
