"""Small types that have nothing native."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, NamedTuple, TypeAlias, TypedDict, TypeVar

T = TypeVar("T")

Duration: TypeAlias = float | timedelta | str
"""Seconds, a timedelta, or text with a unit (``"60s"``; units: ns us ms s m h d)."""

Key: TypeAlias = str | bytes | bytearray | memoryview
"""What a key may be given as."""

Value: TypeAlias = Any
"""None, bool, int, float, str, bytes, list or dict with str keys; also tuple, bytearray, memoryview."""


class Options(TypedDict):
    """The options of a registry as plain data; durations are text with a unit."""

    name: str | None
    node: str
    default_ttl: str | None
    max_value_bytes: int
    max_entries: int | None
    max_bytes: int | None
    max_watchers: int
    lock_lease: str | None
    clock: str
    cluster: str | None
    listen: list[str] | None
    peers: list[str] | None
    discovery: str | None
    failure_timeout: str | None
    tls: dict[str, str] | None


class Stats(TypedDict):
    """What a registry holds and does, and has done since its start.

    From ``members`` on it is of interest in a cluster only: those in touch, this one included; records sent to all
    others, and theirs applied here; those that wait to be sent, and those that found no room for that; comparisons
    that moved something; deleted and expired entries that are kept in mind; records from too far in the future;
    messages and connections turned away; records of the first sync, those that came and all; and how far this clock
    is from the others', in milliseconds.
    """

    entries: int
    bytes: int
    expiring: int
    locks: int
    waiters: int
    watchers: int
    lagged: int
    expired: int
    worker_restarts: int
    healthy: bool
    members: int
    replicated_out: int
    replicated_in: int
    outbox: int
    outbox_overflows: int
    repairs: int
    tombstones: int
    parked: int
    refused: int
    sync_entries: int
    sync_total: int
    clock_offset_ms: int


class Holder(NamedTuple):
    """Who holds a lock. Holders are equal only if both parts are."""

    node: str
    """The name of the node."""
    owner: str | None
    """The label that was given as ``owner``, if any."""


class Page(list[T]):
    """A list with the cursor of the next page.

    >>> import minikv
    >>> with minikv.Registry() as kv:
    ...     _ = kv.put_many({"a": 1, "b": 2, "c": 3})
    ...     page = kv.keys(limit=2)
    ...     rest = kv.keys(limit=2, cursor=page.cursor)
    >>> len(page), len(rest), rest.cursor
    (2, 1, None)
    """

    cursor: str | None
    """Leads to the next page of the same registry; None: this was the last."""

    def __init__(self, items: Iterable[T] = (), cursor: str | None = None) -> None:
        super().__init__(items)
        self.cursor = cursor


class Change(enum.Enum):
    """What the function of ``update`` may return in place of a value."""

    KEEP = "keep"
    """Leaves everything as it is."""
    DELETE = "delete"
    """Removes the entry."""

    def __repr__(self) -> str:
        return f"minikv.{self.name}"


KEEP = Change.KEEP
DELETE = Change.DELETE
