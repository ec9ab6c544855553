"""Keys, prefixes and listings."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import minikv

BAD_KEYS: list[Any] = [
    None,
    "",
    b"",
    "x" * 65_536,
    b"x" * 65_536,
    "\ud800",
    1,
    1.0,
    True,
    ["k"],
    ("k",),
    {"k": 1},
    object(),
    memoryview(b"abcd")[::2],
    minikv.KEEP,
]

BY_KEY: list[Callable[[minikv.Registry, Any], Any]] = [
    lambda kv, key: kv.get(key),
    lambda kv, key: kv.value(key),
    lambda kv, key: kv.contains(key),
    lambda kv, key: kv.put(key, 1),
    lambda kv, key: kv.set(key, 1),
    lambda kv, key: kv.delete(key),
    lambda kv, key: kv.lock(key),
    lambda kv, key: kv.locked(key),
    lambda kv, key: kv.unlock(key),
    lambda kv, key: kv.persist(key),
    lambda kv, key: kv.touch(key, 1),
    lambda kv, key: kv.incr(key),
    lambda kv, key: kv.update(key, lambda _: 1 / 0),
    lambda kv, key: kv.get_or_put(key, lambda: 1 / 0),
    lambda kv, key: kv.get_many(["k", key]),
    lambda kv, key: kv.put_many([("new", 1), (key, 1)]),
    lambda kv, key: kv.delete_many(["k", key]),
    lambda kv, key: kv.watch(key=b"" if key is None else key),
    lambda kv, key: kv[key],
    lambda kv, key: kv.__setitem__(key, 1),
    lambda kv, key: kv.__delitem__(key),
    lambda kv, key: key in kv,
    lambda kv, key: kv.data[key],
    # Wrong in everything: the key is told first.
    lambda kv, key: kv.put(key, object(), ttl=object(), owner=1, fence="x"),  # type: ignore[arg-type]
    lambda kv, key: kv.touch(key, object()),  # type: ignore[arg-type]
    lambda kv, key: kv.lock(key, wait="x", put=object()),
    lambda kv, key: kv.update(key, 5),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("key", BAD_KEYS, ids=lambda key: repr(key)[:20])
def test_bad_keys_are_refused_by_every_method(kv: minikv.Registry, key: Any) -> None:
    kv.put("k", 1)
    digest, watchers = kv.digest(), kv.stats()["watchers"]
    for call in BY_KEY:
        with pytest.raises(minikv.InvalidKey) as info:
            call(kv, key)
        assert isinstance(info.value, ValueError) and isinstance(info.value, TypeError)
    assert kv.digest() == digest and kv.stats()["watchers"] == watchers
    kv.stop()
    for call in BY_KEY:
        with pytest.raises(minikv.Stopped):
            call(kv, key)


def test_keys_are_bytes_shown_as_text_where_they_are_text(kv: minikv.Registry) -> None:
    kv.put("ä", 1)
    assert kv[b"\xc3\xa4"] == kv[bytearray("ä".encode())] == kv[memoryview("ä".encode())] == 1
    kv.put(b"\xff", 2)
    assert set(kv.keys()) == set(kv) == {"ä", b"\xff"}
    assert set(kv.keys(raw=True)) == {"ä".encode(), b"\xff"}
    entry = kv.get(b"\xff")
    assert entry is not None and entry.key == entry.key_bytes == b"\xff"
    assert kv.put("x" * 65_535, 1).key == "x" * 65_535
    assert kv.put("\0", 1).key == "\0"


def test_text_subclasses_are_keys(kv: minikv.Registry) -> None:
    class Name(str):
        def encode(self, *_: Any) -> bytes:
            raise RuntimeError("not to be called")

    kv.put(Name("k"), 1)
    assert kv["k"] == 1


def test_prefixes(kv: minikv.Registry) -> None:
    kv.put_many({"a:1": 1, "a:2": 2, "b": 3, b"\xff1": 4})
    assert sorted(kv.keys("a:")) == ["a:1", "a:2"]
    assert kv.count("a:") == 2 and kv.count() == kv.count("") == kv.count(None) == 4
    assert kv.keys(b"\xff") == [b"\xff1"]
    assert [entry.value for entry in kv.entries("b")] == [3]
    bad: Any
    for bad in (1, "x" * 65_536, "\ud800", ["a"], object()):
        for call in (kv.keys, kv.entries, kv.count, kv.clear, kv.watch):
            with pytest.raises(minikv.InvalidKey):
                call(bad)
    assert kv.clear("a:") == 2 and len(kv) == 2


def test_pages(kv: minikv.Registry) -> None:
    kv.put_many({f"k{n}": n for n in range(100)})
    seen: list[str] = []
    cursor = None
    for _ in range(100):
        page = kv.keys(limit=7, cursor=cursor)
        assert isinstance(page, minikv.Page) and isinstance(page, list) and len(page) <= 7
        seen += page
        cursor = page.cursor
        if cursor is None:
            break
    assert sorted(seen) == sorted(f"k{n}" for n in range(100))
    bad: Any
    for bad in (0, -1, True, "1", 1.0, 2**64, 2**70):
        with pytest.raises(minikv.InvalidArgument):
            kv.keys(limit=bad)
    for bad in ("x", "", 1, b"00", "\ud800", "ff" * 20):
        with pytest.raises(minikv.InvalidArgument):
            kv.entries(cursor=bad)
    for bad in (1, "yes", 0):
        with pytest.raises(minikv.InvalidArgument):
            kv.keys(raw=bad)


class Breaks:
    """An iterable that raises half-way."""

    def __init__(self, *items: Any) -> None:
        self.items = items

    def __iter__(self) -> Iterator[Any]:
        yield from self.items
        raise LookupError("half-way")


def test_iterables_of_keys_and_items(kv: minikv.Registry) -> None:
    assert [entry.value for entry in kv.put_many((key, n) for n, key in enumerate("abc"))] == [0, 1, 2]
    assert kv.get_many(iter(["a", "z"])) == [kv.get("a"), None]
    assert kv.put_many([["d", 3]])[0].key == "d"
    assert kv.put_many([]) == kv.get_many([]) == kv.delete_many(()) == []
    twice = kv.put_many([("a", 1), ("a", 2)])
    assert [entry.value for entry in twice] == [2, 2]
    first, second = kv.delete_many(["a", "a"])
    assert first is not None and second is None
    digest = kv.digest()
    for call in (kv.get_many, kv.delete_many, kv.put_many):
        with pytest.raises(LookupError, match="half-way"):
            call(Breaks(*([("new", 1)] if call == kv.put_many else ["b"])))
        bad: Any
        for bad in (None, 5, "ab", b"ab", object()):
            with pytest.raises(minikv.InvalidArgument):
                call(bad)
    for bad in ([1], ["ab"], [("a",)], [("a", 1, 2)], [None], itertools.repeat(())):
        with pytest.raises(minikv.InvalidArgument):
            kv.put_many(bad)
    assert kv.digest() == digest


def test_all_or_nothing(kv: minikv.Registry) -> None:
    kv.put_many({"a": 1, "b": 2})
    kv.lock("b", owner="other")
    with pytest.raises(minikv.Locked):
        kv.put_many({"a": 10, "b": 20, "c": 30})
    with pytest.raises(minikv.Locked):
        kv.delete_many(["a", "b"])
    assert dict(kv.data) == {"a": 1, "b": 2}
    assert kv.clear() == 1 and list(kv) == ["b"]


def test_mappings_of_items(kv: minikv.Registry) -> None:
    import types

    kv.put_many(types.MappingProxyType({"a": 1}))
    with minikv.Registry() as other:
        other.put_many(kv.data)
        assert other.digest() == kv.digest()


def test_the_mapping(kv: minikv.Registry) -> None:
    from collections.abc import MutableMapping

    data = kv.data
    assert isinstance(data, MutableMapping)
    data["a"] = [1]
    data.update(b=2, c=3)
    assert dict(data) == {"a": [1], "b": 2, "c": 3} and len(data) == 3
    assert data.pop("a") == [1] and data.pop("a", 5) == 5
    with pytest.raises(KeyError):
        data.pop("a")
    with pytest.raises(minikv.NotFound):
        del data["a"]
    assert data.setdefault("b", 9) == 2 and data.setdefault("d", 9) == 9
    assert data.get("zzz") is None and "b" in data and "zzz" not in data
    key, _ = data.popitem()
    assert key not in data
    assert data == dict(data.items())
    data.clear()
    assert not data and list(data) == []


def test_the_mapping_bears_keys_that_go_meanwhile(kv: minikv.Registry) -> None:
    kv.put_many({"a": 1, "b": 2})
    for view in (kv.data.items(), kv.data.values()):
        found = iter(view)
        next(found)
        kv.clear()
        assert len(list(found)) == 1
        kv.put_many({"a": 1, "b": 2})
    assert 2 in kv.data.values() and 3 not in kv.data.values()
    assert ("a", 1) in kv.data.items() and ("a", 2) not in kv.data.items()
    kv.lock("a", owner="somebody")
    assert kv.data.popitem() == ("b", 2)
    with pytest.raises(minikv.Locked):
        kv.data.popitem()
    kv.delete("a", owner="somebody")
    with pytest.raises(minikv.NotFound):
        kv.data.popitem()


def test_mappings_whose_items_are_no_pairs_are_refused(kv: minikv.Registry) -> None:
    class Odd(dict[str, int]):
        def items(self) -> Any:
            return [("a", 1, 2)]

    with pytest.raises(minikv.InvalidArgument):
        kv.put_many(Odd())


def test_the_operators(kv: minikv.Registry) -> None:
    assert bool(kv), "an empty registry is not false"
    kv["a"] = 1
    assert "a" in kv and len(kv) == 1 and list(kv) == ["a"] and kv["a"] == 1
    del kv["a"]
    with pytest.raises(KeyError) as info:
        kv["a"]
    assert isinstance(info.value, minikv.NotFound) and str(info.value) == "no entry 'a'"
    with pytest.raises(minikv.NotFound):
        del kv["a"]
