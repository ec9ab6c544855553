"""The errors: one class for each kind, the same kinds in every language."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from ._minikv import Entry


class MinikvError(Exception):
    """Base of all errors of this package. The registry is as it was before the call that raised it.

    >>> import minikv
    >>> with minikv.Registry() as kv:
    ...     try:
    ...         kv.put("", 1)
    ...     except minikv.MinikvError as error:
    ...         print(error.kind)
    invalid_key
    """

    kind: ClassVar[str] = "internal"
    """The stable name of what went wrong. The message is for people and may change."""
    message: str

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return type(self), (self.message,)


class Stopped(MinikvError):
    """The registry was stopped."""

    kind = "stopped"


class Forked(MinikvError):
    """This process is a fork of the one that started the registry; start a new one here."""

    kind = "forked"


class InvalidKey(MinikvError, ValueError, TypeError):
    """The key is empty, too long, or not str or bytes."""

    kind = "invalid_key"


class InvalidValue(MinikvError, ValueError):
    """The value cannot be stored, or is not of the type that the operation needs."""

    kind = "invalid_value"


class IntOutOfRange(InvalidValue, OverflowError):
    """An int does not fit into signed 64 bit."""


class InvalidArgument(MinikvError, ValueError):
    """An option or argument is out of range, misspelt, or contradicts another."""

    kind = "invalid_argument"


class UnknownOption(InvalidArgument, TypeError):
    """There is no such option; the message names the nearest right one."""


class StaleFence(MinikvError):
    """The fence given is not the key's last one, or was released."""

    kind = "stale_fence"


class Locked(MinikvError):
    """Somebody else holds the key's lock."""

    kind = "locked"


class LockTimeout(Locked, TimeoutError):
    """Somebody else held the key's lock for as long as the call would wait."""


class Conflict(MinikvError):
    """A condition (``if_absent``, ``if_version``) did not hold."""

    kind = "conflict"
    entry: Entry | None
    """The entry that was there; None: the key was absent."""

    def __init__(self, message: str = "", entry: Entry | None = None) -> None:
        super().__init__(message)
        self.entry = entry

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return type(self), (self.message, self.entry)


class LockLost(MinikvError):
    """A guard's lock ended before the guard released it."""

    kind = "lock_lost"


class Timeout(MinikvError, TimeoutError):
    """A wait other than one for a lock ran out of time."""

    kind = "timeout"


class NotFound(MinikvError, KeyError):
    """There is no such key or registry."""

    kind = "not_found"


class AlreadyStarted(MinikvError):
    """A registry of this name runs in this process already."""

    kind = "already_started"


class Limit(MinikvError):
    """A configured limit (entries, bytes, watchers) is reached."""

    kind = "limit"


class NoQuorum(MinikvError):
    """Too few voters are reachable."""

    kind = "no_quorum"


class Cluster(MinikvError):
    """The cluster cannot take this call now."""

    kind = "cluster"


class Io(MinikvError, OSError):
    """Reading or writing a file or socket failed."""

    kind = "io"


class Corrupt(MinikvError):
    """Data read from outside is not in the expected format."""

    kind = "corrupt"


class Internal(MinikvError):
    """A defect of this library."""

    kind = "internal"


# For the native half: what to raise for which kind.
CLASSES: dict[str, type[MinikvError]] = {
    "int_out_of_range": IntOutOfRange,
    "lock_timeout": LockTimeout,
    "unknown_option": UnknownOption,
    **{
        cls.kind: cls
        for cls in (
            Stopped,
            Forked,
            InvalidKey,
            InvalidValue,
            InvalidArgument,
            StaleFence,
            Locked,
            Conflict,
            LockLost,
            Timeout,
            NotFound,
            AlreadyStarted,
            Limit,
            NoQuorum,
            Cluster,
            Io,
            Corrupt,
            Internal,
        )
    },
}

for _class in (MinikvError, *CLASSES.values()):
    _class.__module__ = "minikv"
