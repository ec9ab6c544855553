"""A registry's plain values as a mapping."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._registry import Registry

_MISSING: Any = object()


class Data(MutableMapping[str | bytes, Any]):
    """A registry's values as a mutable mapping of plain values, from ``Registry.data``.

    Absent keys raise NotFound, which is a KeyError. Iteration sees the keys of its start.

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

    def pop(self, key: str | bytes, default: Any = _MISSING) -> Any:
        """Removes a key and returns its value, in one step."""
        entry = self._registry.delete(key)
        if entry is not None:
            return entry.value
        if default is _MISSING:
            return self._registry[key]
        return default

    def setdefault(self, key: str | bytes, default: Any = None) -> Any:
        """The value of a key; an absent one gets ``default``, in one step."""
        return self._registry.get_or_put(key, lambda: default).value

    def clear(self) -> None:
        """Removes everything that nobody has locked."""
        self._registry.clear()

    def __repr__(self) -> str:
        return f"<minikv.Data of {self._registry!r}>"


Data.__module__ = "minikv"
