"""Options of calls: what they accept, what they refuse, and that a refused call changes nothing."""

from __future__ import annotations

import fractions
import math
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import minikv

NS = 1_000_000_000


@pytest.mark.parametrize(
    ("ttl", "ns"),
    [
        (1, NS),
        (1.5, 1_500_000_000),
        (0.1, 100_000_000),
        (1e-9, 1),
        (timedelta(microseconds=1), 1_000),
        (timedelta(days=1, seconds=1, microseconds=1), 86_401_000_001_000),
        (timedelta(days=100_000, microseconds=1), 8_640_000_000_000_001_000),
        ("60s", 60 * NS),
        ("1500ms", 1_500_000_000),
        ("1ns", 1),
    ],
    ids=repr,
)
def test_durations(ttl: Any, ns: int) -> None:
    with minikv.Registry(clock="manual") as kv:
        if ns > 2**63 - 1 - 1_700_000_000 * NS:
            with pytest.raises(minikv.InvalidArgument):
                kv.put("k", 1, ttl=ttl)
            return
        entry = kv.put("k", 1, ttl=ttl)
        assert entry.exp == entry.time + ns
        assert entry.expires_in == pytest.approx(ns / NS)
        kv.advance(ttl)
        assert kv.get("k") is None


BAD_DURATIONS: list[Any] = [
    -1,
    -0.001,
    math.nan,
    math.inf,
    -math.inf,
    1e300,
    10**30,
    True,
    "abc",
    "60",
    "",
    "1 parsec",
    "\ud800",
    b"60s",
    timedelta(microseconds=-1),
    timedelta.max,
    timedelta.min,
    fractions.Fraction(1, 2),
    [],
    object(),
]


@pytest.mark.parametrize("bad", BAD_DURATIONS, ids=repr)
def test_bad_durations(kv: minikv.Registry, bad: Any) -> None:
    kv.put("k", 1)
    before = kv.entries()
    calls: list[Callable[[], Any]] = [
        lambda: kv.put("k", 2, ttl=bad),
        lambda: kv.put("k", 2, lock=True, lease=bad),
        lambda: kv.touch("k", bad),
        lambda: kv.lock("k", lease=bad),
        lambda: kv.lock("k", put=1, ttl=bad),
        lambda: kv.locked("k", lease=bad).__enter__(),
        lambda: kv.put_many({"k": 2}, ttl=bad),
        lambda: kv.get_or_put("new", lambda: 1, ttl=bad),
        lambda: kv.advance(bad),
        lambda: minikv.Registry(default_ttl=bad),
        lambda: minikv.Registry(lock_lease=bad),
    ]
    if bad not in (math.inf, timedelta.max):  # Both are a wait as long as it takes.
        calls += [
            lambda: kv.lock("k", wait=bad),
            lambda: kv.locked("k", wait=bad).__enter__(),
            lambda: kv.watch().next(bad),
        ]
    for call in calls:
        with pytest.raises(minikv.InvalidArgument):
            call()
    assert kv.entries() == before and kv.stats()["locks"] == 0 and len(kv) == 1


BAD_OPTIONS: list[tuple[str, list[Any]]] = [
    ("owner", [1, b"o", True, ["o"], "\ud800", "x" * 1025, object()]),
    ("fence", [-1, 2**64, 10**400, True, 1.0, "1", object()]),
    ("if_version", ["", "x", 1, True, b"0", "\ud800", object()]),
]
BAD_PUT_OPTIONS: list[tuple[str, list[Any]]] = [
    (name, [1, 0, "yes", "", [], object()]) for name in ("persist", "keep_ttl", "if_absent", "lock")
]


@pytest.mark.parametrize(("name", "bads"), BAD_OPTIONS + BAD_PUT_OPTIONS)
def test_bad_options(kv: minikv.Registry, name: str, bads: list[Any]) -> None:
    kv.put("k", 1)
    before = kv.entries()
    for bad in bads:
        option: Any = {name: bad}
        calls: list[Callable[[], Any]] = [
            lambda: kv.put("k", 2, **option),
            lambda: kv.set("k", 2, **option),
            lambda: kv.put_many({"k": 2}, **option),
            lambda: kv.get_or_put("new", lambda: 1, **option),
        ]
        if name != "lock":
            calls.append(lambda: kv.lock("k", put=2, **option))
        if (name, bads) in BAD_OPTIONS:
            calls += [
                lambda: kv.delete("k", **option),
                lambda: kv.delete_many(["k"], **option),
                lambda: kv.lock("k", **option),
                lambda: kv.locked("k", **option).__enter__(),
                lambda: kv.unlock("k", **option),
                lambda: kv.persist("k", **option),
                lambda: kv.touch("k", 1, **option),
                lambda: kv.incr("k", **option),
                lambda: kv.update("k", lambda v: v, **option),
            ]
        for call in calls:
            with pytest.raises(minikv.InvalidArgument):
                call()
    assert kv.entries() == before and kv.stats()["locks"] == 0


def test_other_bad_arguments(kv: minikv.Registry) -> None:
    kv.put("k", 1)
    bad: Any
    for bad in (1.0, "1", True, [], object()):
        with pytest.raises(minikv.InvalidArgument):
            kv.incr("k", bad)
    for bad in (0, -1, 2**24 + 1, 2**64, True, "1", 1.5):
        with pytest.raises(minikv.InvalidArgument):
            kv.watch(capacity=bad)
    for bad in (1, "yes"):
        with pytest.raises(minikv.InvalidArgument):
            kv.watch(initial=bad)
        with pytest.raises(minikv.InvalidArgument):
            kv.locked("k", create=bad)
    with pytest.raises(minikv.InvalidArgument):
        kv.watch("a", key="b")
    for bad in (None, 5, "fn", object()):
        with pytest.raises(minikv.InvalidArgument):
            kv.update("k", bad)
        with pytest.raises(minikv.InvalidArgument):
            kv.get_or_put("k", bad)
    with pytest.raises(minikv.InvalidArgument, match="give put as well"):
        kv.lock("k", ttl=1)
    with pytest.raises(minikv.InvalidArgument, match="contradict"):
        kv.put("k", 1, ttl=1, keep_ttl=True)
    with pytest.raises(minikv.InvalidArgument, match="manual clock"):
        kv.advance(1)
    with pytest.raises(TypeError, match="unexpected keyword"):
        kv.put("k", 1, tll=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        kv.get()  # type: ignore[call-arg]
    assert kv.stats()["watchers"] == 0 and kv.stats()["locks"] == 0


def test_none_is_as_good_as_not_given(kv: minikv.Registry) -> None:
    entry = kv.put("k", 1, ttl=None, persist=None, owner=None, fence=None, if_version=None)
    assert entry.exp is None
    assert kv.keys(None, limit=None, cursor=None, raw=None) == ["k"]
    locked = kv.lock("k", put=None)
    assert locked is not None and locked.value is None, "None is a value to put"


def test_options_are_plain_data(tmp_path: Path) -> None:
    with minikv.Registry("plain", default_ttl=1.5, lock_lease="30s", max_entries=5) as kv:
        options = kv.options()
        assert options["default_ttl"] == "1500ms" and options["lock_lease"] == "30s"
        with pytest.raises(minikv.AlreadyStarted):
            minikv.Registry(**options)
        same = minikv.Registry(**options, exist_ok=True)
        with pytest.raises(minikv.AlreadyStarted, match="max_entries"):
            minikv.Registry("plain", default_ttl=1.5, lock_lease=30, exist_ok=True)
        with same:
            same.put("k", 1)
        assert kv["k"] == 1, "only the starter's with stops"
    with pytest.raises(minikv.Stopped):
        same.get("k")
    with minikv.Registry(**options) as again:
        assert again.options() == options
    file = tmp_path / "kv.toml"
    file.write_text('name = "from-file"\ndefault_ttl = "60s"\n')
    for path in (file, str(file)):
        with minikv.Registry.from_config(path) as kv:
            assert kv.name == "from-file" and kv.options()["default_ttl"] == "60s"
            assert minikv.Registry.from_config(path, exist_ok=True).name == "from-file"
    file.write_text("defualt_ttl = 1")
    with pytest.raises(minikv.InvalidArgument, match="did you mean 'default_ttl'"):
        minikv.Registry.from_config(file)
    with pytest.raises(minikv.Io) as info:
        minikv.Registry.from_config(tmp_path / "nowhere.toml")
    assert isinstance(info.value, OSError)
    bad: Any
    for bad in (None, 5, object()):
        with pytest.raises(minikv.InvalidArgument):
            minikv.Registry.from_config(bad)


def test_bad_registry_options() -> None:
    make: Any = minikv.Registry
    with pytest.raises(minikv.InvalidArgument, match="did you mean 'default_ttl'") as info:
        make("x", defualt_ttl=60)
    assert isinstance(info.value, TypeError)
    with pytest.raises(minikv.UnknownOption, match="did you mean 'exist_ok'"):
        make("x", exists_ok=True)
    bads: dict[str, list[Any]] = {
        "name": ["", 1, b"x", True, "\ud800", "x" * 256, []],
        "node": ["", 1, True, "\ud800", "x" * 256, object()],
        "default_ttl": [-1, "60", object(), True],
        "max_value_bytes": [0, -1, (16 << 20) + 1, 2**70, True, "1", 1.0],
        "max_entries": [0, -1, 2**63, True, "1", 1.0, object()],
        "max_bytes": [0, -1, True, {}],
        "max_watchers": [0, -1, True, None.__class__],
        "lock_lease": [0, 601, -1, "x"],
        "clock": ["", "sundial", 1, True, object()],
        "exist_ok": [1, "yes", []],
    }
    for name, values in bads.items():
        for bad in values:
            with pytest.raises(minikv.InvalidArgument):
                make(**{name: bad})
    with pytest.raises(TypeError):
        make("x", "y")
    with pytest.raises(minikv.NotFound):
        minikv.Registry.open("x")
    names: list[Any] = [None, 1, b"x", "\ud800"]
    for bad in names:
        with pytest.raises(minikv.InvalidArgument):
            minikv.Registry.open(bad)


def test_named_registries_live_without_a_handle() -> None:
    minikv.Registry("lives")["k"] = 1
    with minikv.Registry.open("lives") as kv:
        assert kv["k"] == 1
    assert minikv.Registry.open("lives")["k"] == 1
    minikv.Registry.open("lives").stop()
    with pytest.raises(minikv.NotFound):
        minikv.Registry.open("lives")


def test_unnamed_registries_live_as_long_as_what_uses_them() -> None:
    watch = minikv.Registry().watch()
    assert not watch.closed
    kv = minikv.Registry()
    kv.put("k", 1)
    scope = kv.locked("k")
    del kv
    with scope as held:
        assert held.put(2).value == 2


def test_stopped(kv: minikv.Registry) -> None:
    kv.put("k", 1)
    watch = kv.watch()
    scope = kv.locked("k")
    held = scope.__enter__()
    kv.stop()
    kv.stop()
    calls: list[Callable[[], Any]] = [
        lambda: kv.get("k"), lambda: kv.put("k", 1), lambda: kv.keys(), lambda: kv.stats(),
        lambda: kv.options(), lambda: kv.digest(), lambda: kv.count(), lambda: kv.clear(),
        lambda: kv.watch(), lambda: kv.advance(1), lambda: kv.get_many([]),
        lambda: kv.put_many({}), lambda: kv.put_many(None),  # type: ignore[arg-type]
        lambda: len(kv), lambda: list(kv), lambda: held.get(), lambda: held.put(object()),
        lambda: held.incr("x"), lambda: held.touch("x"), lambda: held.release(),  # type: ignore[arg-type]
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(minikv.Stopped):
            call()
    assert "stopped" in repr(kv)
    assert [event.type for event in watch] == ["lock"], "what came before can still be read"
