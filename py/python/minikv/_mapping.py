"""A registry's plain values as a mapping."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, MutableMapping, ValuesView
from typing import TYPE_CHECKING, Any

from ._errors import Locked, NotFound

if TYPE_CHECKING:
    from ._registry import Registry

_MISSING: Any = object()


# What the standard views do, they do with one lookup for each key; one that expired meanwhile would
# end the iteration with a KeyError.
class _Items(ItemsView[str | bytes, Any]):
    __slots__ = ()
    _mapping: Data

    def __iter__(self) -> Iterator[tuple[str | bytes, Any]]:
        return ((entry.key, entry.value) for entry in self._mapping._registry.entries())


class _Values(ValuesView[Any]):
    __slots__ = ()
    _mapping: Data

    def __iter__(self) -> Iterator[Any]:
        return (entry.value for entry in self._mapping._registry.entries())

    def __contains__(self, value: object) -> bool:
        return any(present is value or present == value for present in self)


class Data(MutableMapping[str | bytes, Any]):
    """A registry's values as a mutable mapping of plain values, from ``Registry.data``.

    Absent keys raise NotFound, which is a KeyError. Iteration, items() and values() see what was there
    at their start. Where keys may expire or go meanwhile, copy with dict(data.items()): dict(data)
    looks up one key after the other.

    >>> import minikv
    >>> with minikv.Registry() as kv:
    ...     kv.data.update(a=1, b=[2])
    ...     dict(kv.data) == {"a": 1, "b": [2]}
    True
    """

    __slots__ = ("_registry",)

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __getitem__(self, key: str | bytes) -> Any:
        return self._registry[key]

    def __setitem__(self, key: str | bytes, value: Any) -> None:
        self._registry[key] = value

    def __delitem__(self, key: str | bytes) -> None:
        del self._registry[key]

    def __contains__(self, key: object) -> bool:
        return key in self._registry

    def __iter__(self) -> Iterator[str | bytes]:
        return iter(self._registry)

    def __len__(self) -> int:
        return len(self._registry)

    def items(self) -> ItemsView[str | bytes, Any]:
        """A view of the keys with their values."""
        return _Items(self)

    def values(self) -> ValuesView[Any]:
        """A view of the values."""
        return _Values(self)

    def pop(self, key: str | bytes, default: Any = _MISSING) -> Any:
        """Removes a key and returns its value, in one step."""
        entry = self._registry.delete(key)
        if entry is not None:
            return entry.value
        if default is _MISSING:
            return self._registry[key]
        return default

    def popitem(self) -> tuple[str | bytes, Any]:
        """Removes some key and returns it with its value, in one step.

        Keys that somebody has locked are passed over; raises Locked if there are no others.
        """
        locked: Locked | None = None
        cursor = None
        while True:
            page = self._registry.keys(limit=16, cursor=cursor)
            for key in page:
                try:
                    entry = self._registry.delete(key)
                except Locked as error:
                    locked = error
                    continue
                if entry is not None:
                    return key, entry.value
            cursor = page.cursor
            if cursor is None:
                raise locked or NotFound("there is no entry")

    def setdefault(self, key: str | bytes, default: Any = None) -> Any:
        """The value of a key; an absent one gets ``default``, in one step."""
        return self._registry.get_or_put(key, lambda: default).value

    def clear(self) -> None:
        """Removes everything that nobody has locked."""
        self._registry.clear()

    def __repr__(self) -> str:
        return f"<minikv.Data of {self._registry!r}>"


Data.__module__ = "minikv"
