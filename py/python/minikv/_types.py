"""Small types that have nothing native."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

T = TypeVar("T")


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
