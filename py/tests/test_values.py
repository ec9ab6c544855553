"""Values come back as they went in, and everything else is refused."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import math
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

import minikv

ROUND_TRIPS: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**63 - 1,
    -(2**63),
    0.0,
    -0.0,
    1.0,
    math.inf,
    -math.inf,
    5e-324,
    "",
    "ä\0€😀",
    b"",
    b"\xff\0",
    [],
    {},
    [None, [1, [2.0, {"a": b"b"}]]],
    {"": 1, "__proto__": 2, "ä": {"x": []}},
]


@pytest.mark.parametrize("value", ROUND_TRIPS, ids=repr)
def test_values_come_back_with_their_type(kv: minikv.Registry, value: Any) -> None:
    for got in (kv.put("k", value).value, kv.value("k"), kv["k"]):
        assert type(got) is type(value)
        assert got == value and repr(got) == repr(value)
    in_list = kv.put("k", [value, {"in": value}]).value
    assert repr(in_list) == repr([value, {"in": value}])


def test_nan_is_stored_as_one_bit_pattern(kv: minikv.Registry) -> None:
    odd = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_0001))[0]
    assert struct.pack("<d", kv.put("k", odd).value) == struct.pack("<d", math.nan)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ((1, (2,)), [1, [2]]),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abc")[1:], b"bc"),
        (memoryview(struct.pack("<2i", 1, 2)).cast("i"), struct.pack("<2i", 1, 2)),
        ({"b": 1, "a": 2}, {"a": 2, "b": 1}),
    ],
    ids=repr,
)
def test_what_is_stored_as_its_plain_type(kv: minikv.Registry, given: Any, stored: Any) -> None:
    got = kv.put("k", given).value
    assert got == stored and type(got) is type(stored)


class Int(int):
    def __index__(self) -> int:
        raise RuntimeError("not to be called")


class Text(str):
    def __str__(self) -> str:
        raise RuntimeError("not to be called")


class List(list[Any]):
    def __iter__(self) -> Any:
        raise RuntimeError("not to be called")


class Dict(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("not to be called")


class Point(NamedTuple):
    x: int


class Colour(enum.IntEnum):
    RED = 1


class Odd:
    """Looks like everything and raises on every look."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"asked for {name}")

    def __index__(self) -> int:
        raise RuntimeError("not to be called")

    def __iter__(self) -> Any:
        raise RuntimeError("not to be called")

    def __buffer__(self, flags: int) -> memoryview:
        raise RuntimeError("not to be called")


def released() -> memoryview:
    view = memoryview(b"abc")
    view.release()
    return view


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


def cyclic_list() -> Any:
    value: Any = []
    value.append(value)
    return value


def cyclic_dict() -> Any:
    value: Any = {}
    value["self"] = [value]
    return value


REFUSED: list[Callable[[], Any]] = [
    lambda: Int(1),
    lambda: Text("a"),
    lambda: List(),
    lambda: Dict(),
    lambda: Colour.RED,
    lambda: Odd(),
    lambda: Odd,
    lambda: object(),
    lambda: 1j,
    lambda: {1, 2},
    lambda: frozenset(),
    lambda: range(3),
    lambda: iter([]),
    lambda: ...,
    lambda: NotImplemented,
    lambda: len,
    lambda: datetime.datetime(2026, 1, 1),
    lambda: decimal.Decimal(1),
    lambda: collections.OrderedDict(a=1),
    lambda: collections.defaultdict(int),
    lambda: Point(1),
    lambda: memoryview(b"abcd")[::2],
    released,
    lambda: "\ud800",
    lambda: "a\udfffb",
    lambda: {1: 2},
    lambda: {b"a": 2},
    lambda: {None: 2},
    lambda: {Text("a"): 2},
    lambda: {"\ud800": 2},
    lambda: nested(129),
    cyclic_list,
    cyclic_dict,
    lambda: "x" * (16 << 20),
    lambda: b"x" * (16 << 20),
    lambda: [None] * (17 << 20),
    lambda: [["x" * (1 << 20)] * 8] * 4,
    lambda: minikv.KEEP,
]


@pytest.mark.parametrize("make", REFUSED)
def test_everything_else_is_refused_wherever_it_is(
    kv: minikv.Registry, make: Callable[[], Any]
) -> None:
    kv.put_many({"k": 1, "other": 2})
    digest, version = kv.digest(), kv.get("k")
    bad = make()
    calls: list[Callable[[Any], Any]] = [
        lambda value: kv.put("k", value),
        lambda value: kv.put("new", value, ttl=1, owner="o"),
        lambda value: kv.set("k", value),
        lambda value: kv.__setitem__("k", value),
        lambda value: kv.data.__setitem__("k", value),
        lambda value: kv.put_many({"new": 1, "k": value}),
        lambda value: kv.put_many([("new", 1), ("k", value)]),
        lambda value: kv.update("new", lambda _: value),
        lambda value: kv.get_or_put("new", lambda: value),
        lambda value: kv.lock("k", put=value),
    ]
    for call in calls:
        for value in (bad, [bad], {"in": [1, bad]}, (None, bad)):
            if bad is minikv.KEEP and value is bad and call is calls[7]:
                continue
            with pytest.raises(minikv.InvalidValue) as info:
                call(value)
            assert info.value.kind == "invalid_value"
            assert info.value.message.startswith("value")
    assert kv.digest() == digest and kv.get("k") == version
    assert kv.stats()["locks"] == 0


def test_128_levels_are_allowed(kv: minikv.Registry) -> None:
    assert kv.put("k", nested(128)).value == nested(128)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 10**400, -(10**5000)], ids=int.bit_length)
def test_ints_outside_64_bits(kv: minikv.Registry, number: int) -> None:
    with pytest.raises(minikv.IntOutOfRange, match=r'^value\["a"\]\[1\]: the int ') as info:
        kv.put("k", {"a": [0, number]})
    assert isinstance(info.value, OverflowError) and info.value.kind == "invalid_value"
    with pytest.raises(minikv.IntOutOfRange):
        kv.incr("k", number)
    assert len(kv) == 0


def test_the_path_to_the_culprit_is_named(kv: minikv.Registry) -> None:
    with pytest.raises(minikv.InvalidValue, match=r'^value\["tags"\]\[2\]: a set cannot'):
        kv.put("k", {"tags": [1, 2, {3}]})


def test_max_value_bytes() -> None:
    with minikv.Registry(max_value_bytes=10) as kv:
        kv.put("k", "x" * 8)
        with pytest.raises(minikv.InvalidValue, match="max_value_bytes"):
            kv.put("k", "x" * 9)


def test_containers_handed_out_are_copies(kv: minikv.Registry) -> None:
    given: Any = {"list": [1]}
    entry = kv.put("k", given)
    given["list"].append(2)
    entry.value["list"].append(3)
    kv["k"]["list"].append(4)
    assert entry.value == kv["k"] == {"list": [1]}
    assert entry.value is not entry.value


def test_a_bytearray_stays_resizable(kv: minikv.Registry) -> None:
    buffer = bytearray(b"abc")
    kv.put("k", buffer)
    buffer.extend(b"d")
    assert kv["k"] == b"abc"
