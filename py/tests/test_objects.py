"""Entries, events, errors: fields, equality, hashes, pickles, texts."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import minikv


def test_entries(manual: minikv.Registry) -> None:
    kv = manual
    entry = kv.put("balance", 100, ttl=60)
    assert (entry.key, entry.value, entry.type, entry.node) == ("balance", 100, "int", "local")
    assert entry.time == 1_700_000_000 * 10**9 and entry.exp == entry.time + 60 * 10**9
    assert entry.expires_in == 60.0 and entry.lock is False
    assert entry.holder is None and entry.fence is None
    locked = kv.lock("balance", owner="w1")
    assert locked is not None and locked.lock and locked.fence is not None
    assert locked.holder == ("local", "w1") == minikv.Holder("local", "w1")
    assert locked.holder is not None and locked.holder.owner == "w1"
    assert locked.version == entry.version and type(entry.version) is str
    assert entry != locked and entry == entry and entry != 5
    assert kv.get("balance") == kv.get("balance")
    assert hash(kv.get("balance")) == hash(kv.get("balance"))
    assert repr(entry).startswith("Entry(key='balance', value=100, node=\"local\", time=17")
    assert "owner='w1'" in repr(locked)
    assert len(repr(kv.put("long", "x" * 10_000))) < 500
    kv.advance(30)
    later = kv.get("balance")
    assert later is not None and later.expires_in == 30.0
    with pytest.raises(AttributeError):
        entry.value = 5  # type: ignore[misc]
    with pytest.raises(TypeError):
        minikv.Entry()


VALUES: list[Any] = [None, True, 1, 1.5, "a", b"b", [1, [2]], {"a": {"b": 1}}]


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickled_entries(value: Any, protocol: int) -> None:
    with minikv.Registry(node="n") as kv:
        kv.put(b"\xff", value, ttl=60)
        entry = kv.lock(b"\xff", owner="w1")
    assert entry is not None
    for back in (pickle.loads(pickle.dumps(entry, protocol)), copy.deepcopy(entry)):
        assert back == entry and entry == back and hash(back) == hash(entry)
        assert repr(back) == repr(entry) and type(back) is minikv.Entry
        for field in ("key", "value", "type", "node", "time", "exp", "expires_in", "lock"):
            assert getattr(back, field) == getattr(entry, field)
        assert back.holder == entry.holder and back.fence == entry.fence
        assert back.version == entry.version and back.key_bytes == b"\xff"
        assert pickle.loads(pickle.dumps(back)) == entry


def test_damaged_pickles_are_refused() -> None:
    from minikv import _minikv

    good = (b"k", b"\x00", "n", (1, None, None), (False, None, None), "v")
    assert _minikv._restore_entry(good).value is None
    with pytest.raises(minikv.Corrupt):
        _minikv._restore_entry((b"k", b"\xff", *good[2:]))
    with pytest.raises(ValueError):
        _minikv._restore_entry((b"", *good[1:]))
    for bad in ((1, 2, 3), (1, *good[1:]), 5):
        with pytest.raises((TypeError, ValueError)):
            _minikv._restore_entry(bad)  # type: ignore[arg-type]


def test_events(kv: minikv.Registry) -> None:
    with kv.watch("k") as watch:
        kv.put("k", 1)
        kv.delete("k")
        first, second = watch.next(60), watch.next(60)
    assert first is not None and second is not None
    match first:
        case minikv.Event("put", "k", entry, 1):
            assert entry is not None and entry.value == 1
        case _:
            raise AssertionError(first)
    assert second.type == "delete" and second.entry is not None and second.entry.value == 1
    assert pickle.loads(pickle.dumps(first)) == first != second
    assert hash(first) == hash(pickle.loads(pickle.dumps(first)))
    assert repr(first).startswith("Event(type='put', key='k', entry=Entry(")
    assert list(watch) == [] and watch.closed


def test_lagged(kv: minikv.Registry) -> None:
    watch = kv.watch(capacity=2)
    for n in range(5):
        kv.put("k", n)
    lagged = watch.try_next()
    assert lagged == minikv.Event("lagged", count=3) and lagged is not None
    assert lagged.key is None and lagged.entry is None
    assert [event.entry.value for event in (watch.next(60), watch.next(60)) if event and event.entry] == [3, 4]
    assert watch.try_next() is None
    with pytest.raises(minikv.Timeout) as info:
        watch.next(0.01)
    assert isinstance(info.value, TimeoutError) and info.value.kind == "timeout"
    with pytest.raises(minikv.Timeout):
        watch.next(timeout=0)


def test_initial(kv: minikv.Registry) -> None:
    kv.put("k", 1)
    watch = kv.watch(key="k", initial=True)
    event = watch.try_next()
    assert event is not None and event.type == "put"


def test_watchers_are_counted_and_limited() -> None:
    with minikv.Registry(max_watchers=2) as kv:
        one, two = kv.watch(), kv.watch()
        with pytest.raises(minikv.Limit):
            kv.watch()
        one.close()
        one.close()
        three = kv.watch()
        assert kv.stats()["watchers"] == 2
        del two, three
        assert kv.stats()["watchers"] == 0


KINDS = {
    "stopped", "forked", "invalid_key", "invalid_value", "invalid_argument", "stale_fence",
    "locked", "conflict", "lock_lost", "timeout", "not_found", "already_started", "limit",
    "no_quorum", "cluster", "io", "corrupt", "internal",
}  # fmt: skip


def error_classes() -> list[type[minikv.MinikvError]]:
    found = [getattr(minikv, name) for name in minikv.__all__]
    return [c for c in found if isinstance(c, type) and issubclass(c, minikv.MinikvError)]


def test_every_kind_has_a_class() -> None:
    from minikv import _errors

    assert {cls.kind for cls in error_classes()} == KINDS
    assert set(_errors.CLASSES) == KINDS | {"int_out_of_range", "lock_timeout", "unknown_option"}
    for kind in KINDS:
        assert _errors.CLASSES[kind].kind == kind


@pytest.mark.parametrize("cls", error_classes())
def test_errors_pickle(cls: type[minikv.MinikvError]) -> None:
    error = cls("it's so")
    for back in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(back) is cls and back.message == str(back) == "it's so"
        assert back.kind == cls.kind and cls.__module__ == "minikv"
    with pytest.raises(minikv.MinikvError):
        raise error


def test_conflicts_carry_the_entry(kv: minikv.Registry) -> None:
    entry = kv.put("k", 1)
    with pytest.raises(minikv.Conflict) as info:
        kv.put("k", 2, if_absent=True)
    assert info.value.entry == entry
    back = pickle.loads(pickle.dumps(info.value))
    assert back.entry == entry and back.message == info.value.message
    with pytest.raises(minikv.Conflict) as info:
        kv.put("zzz", 2, if_version=entry.version)
    assert info.value.entry is None


def test_bases() -> None:
    assert issubclass(minikv.InvalidKey, (ValueError,)) and issubclass(minikv.InvalidKey, TypeError)
    assert issubclass(minikv.LockTimeout, minikv.Locked)
    assert issubclass(minikv.LockTimeout, TimeoutError) and issubclass(minikv.Timeout, TimeoutError)
    assert issubclass(minikv.NotFound, KeyError) and issubclass(minikv.Io, OSError)
    assert issubclass(minikv.UnknownOption, minikv.InvalidArgument)


def test_registries_have_a_repr_and_can_be_referred_to_weakly() -> None:
    import weakref

    with minikv.Registry("shown") as kv:
        kv["k"] = 1
        assert repr(kv) == '<minikv.Registry "shown", 1 entry>'
        assert weakref.ref(kv)() is kv
        with pytest.raises(TypeError):
            pickle.dumps(kv)


def test_subclasses_work() -> None:
    class Mine(minikv.Registry):
        def double(self, key: str) -> int:
            return int(self[key]) * 2

    with Mine("mine") as kv:
        kv["k"] = 2
        assert kv.double("k") == 4
        same = Mine.open("mine")
        assert type(same) is Mine and same.double("k") == 4
