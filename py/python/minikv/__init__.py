"""A key-value registry that lives inside your program.

>>> import minikv
>>> with minikv.Registry("wallet", default_ttl=60) as kv:
...     entry = kv.put("balance", 100)
...     with kv.locked("balance", wait=5) as held:
...         _ = held.put(held.get().value - 10)
...     kv["balance"]
90

Start with :class:`Registry`. A read hands out an :class:`Entry`; what fails raises a
:class:`MinikvError` whose ``kind`` is one stable name. Durations are seconds (float or int), a
``timedelta``, or text with a unit (``"60s"``; units: ns us ms s m h d).

Values are None, bool, int (64 bit), float, str, bytes, list and dict with str keys, nested at most 128
deep. They come back as they went in; a tuple comes back as a list, a bytearray or memoryview as
bytes. Everything else is refused, subclasses included. Keys are str or bytes.
"""

import atexit as _atexit
import os as _os

from . import _minikv
from ._errors import (
    AlreadyStarted,
    Cluster,
    Conflict,
    Corrupt,
    Forked,
    IntOutOfRange,
    Internal,
    InvalidArgument,
    InvalidKey,
    InvalidValue,
    Io,
    Limit,
    Locked,
    LockLost,
    LockTimeout,
    MinikvError,
    NoQuorum,
    NotFound,
    StaleFence,
    Stopped,
    Timeout,
    UnknownOption,
)
from ._mapping import Data
from ._minikv import (
    MAX_DEPTH,
    MAX_KEY_BYTES,
    MAX_VALUE_BYTES,
    Entry,
    Event,
    LockGuard,
    LockScope,
    Member,
    Watch,
)
from ._registry import Registry
from ._types import DELETE, KEEP, Change, Duration, Holder, Key, Options, Page, Stats, Value

__version__ = "0.1.0"

__all__ = [
    "DELETE",
    "KEEP",
    "MAX_DEPTH",
    "MAX_KEY_BYTES",
    "MAX_VALUE_BYTES",
    "AlreadyStarted",
    "Change",
    "Cluster",
    "Conflict",
    "Corrupt",
    "Data",
    "Duration",
    "Entry",
    "Event",
    "Forked",
    "Holder",
    "IntOutOfRange",
    "Internal",
    "InvalidArgument",
    "InvalidKey",
    "InvalidValue",
    "Io",
    "Key",
    "Limit",
    "LockGuard",
    "LockLost",
    "LockScope",
    "LockTimeout",
    "Locked",
    "Member",
    "MinikvError",
    "NoQuorum",
    "NotFound",
    "Options",
    "Page",
    "Registry",
    "StaleFence",
    "Stats",
    "Stopped",
    "Timeout",
    "UnknownOption",
    "Value",
    "Watch",
]

# Threads of the core may be about to call back while the interpreter ends.
_atexit.register(_minikv._before_exit)
if hasattr(_os, "register_at_fork"):
    _os.register_at_fork(after_in_child=_minikv._after_fork)
