"""What a registry tells of its cluster, and the options of a member."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

import minikv

INCARNATION = "0123456789abcdef" * 2


def test_alone_everything_is_there(kv: minikv.Registry) -> None:
    assert kv.ready() is True
    timeouts: list[Any] = [None, 0, 0.5, "1s", float("inf")]
    for timeout in timeouts:
        assert kv.wait_synced(timeout) is None  # type: ignore[func-returns-value]
    assert kv.wait_synced() is None  # type: ignore[func-returns-value]
    assert kv.endpoints() == []
    [member] = kv.members()
    assert (member.node, member.state, member.lag, member.digest) == ("local", "live", 0, None)
    assert member.is_self is True and member.namesake is False
    assert len(member.incarnation) == 32 and int(member.incarnation, 16) > 0
    with minikv.Registry() as other:
        assert other.members()[0].incarnation != member.incarnation
    stats = kv.stats()
    assert (stats["members"], stats["outbox"], stats["clock_offset_ms"]) == (1, 0, 0)
    assert set(stats) == minikv.Stats.__required_keys__
    assert set(kv.options()) == minikv.Options.__required_keys__


def test_alone_asyncio_does_not_wait(kv: minikv.Registry) -> None:
    async def waits() -> None:
        await kv.wait_synced_async()
        await kv.wait_synced_async(0)
        await kv.wait_synced_async(timeout="1s")

    asyncio.run(waits())


def test_wrong_timeouts(kv: minikv.Registry) -> None:
    bads: list[Any] = [-1, "1", object(), float("nan"), True]
    for bad in bads:
        with pytest.raises(minikv.InvalidArgument):
            kv.wait_synced(bad)
        with pytest.raises(minikv.InvalidArgument):
            asyncio.run(kv.wait_synced_async(bad))


def test_stopped_comes_first(kv: minikv.Registry) -> None:
    kv.stop()
    bad: Any = object()
    calls: list[Callable[[], Any]] = [
        kv.ready, kv.wait_synced, lambda: kv.wait_synced(bad), kv.members, kv.endpoints,
        lambda: asyncio.run(kv.wait_synced_async()), lambda: asyncio.run(kv.wait_synced_async(bad)),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(minikv.Stopped):
            call()


def test_members() -> None:
    member = minikv.Member("it's me", INCARNATION, "down", 3, "0123456789abcdef", namesake=True)
    for back in (pickle.loads(pickle.dumps(member)), copy.deepcopy(member)):
        assert back == member and hash(back) == hash(member) and repr(back) == repr(member)
        assert type(back) is minikv.Member
    assert repr(member) == (
        f'Member(node="it\'s me", incarnation={INCARNATION!r}, state=\'down\', lag=3, '
        "digest='0123456789abcdef', is_self=False, namesake=True)"
    )
    assert member != minikv.Member("it's me", INCARNATION) and member != 5
    match member:
        case minikv.Member("it's me", _, "down", lag=3):
            pass
        case _:
            raise AssertionError(member)
    with pytest.raises(AttributeError):
        member.lag = 5  # type: ignore[misc]


def test_events_of_members() -> None:
    member = minikv.Event("member", node="n2", state="down")
    owner = minikv.Event("owner", node="n2", owner="n1")
    assert (member.node, member.state, member.owner) == ("n2", "down", None)
    assert (owner.node, owner.state, owner.owner) == ("n2", None, "n1")
    assert (member.key, member.entry, member.count) == (None, None, 1)
    assert repr(member) == "Event(type='member', node='n2', state='down')"
    assert repr(owner) == "Event(type='owner', node='n2', owner='n1')"
    for event in (member, owner):
        back = pickle.loads(pickle.dumps(event))
        assert back == event and hash(back) == hash(event) and repr(back) == repr(event)
    assert member != owner and member != minikv.Event("member", node="n2", state="live")
    put = minikv.Event("put", "k")
    assert (put.node, put.state, put.owner) == (None, None, None)


TLS = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}


def test_wrong_options_are_named() -> None:
    make: Any = minikv.Registry
    cases: list[tuple[dict[str, Any], str]] = [
        ({"cluster": ""}, "cluster has 0 bytes"),
        ({"cluster": 5}, "cluster is text, not int"),
        ({"cluster": "c", "clock": "manual"}, "manual"),
        ({"listen": "127.0.0.1:0"}, "listen is given without cluster"),
        ({"tls": TLS}, "tls is given without cluster"),
        ({"cluster": "c", "listen": 7447}, "listen must be a list of str"),
        ({"cluster": "c", "listen": {"127.0.0.1:0"}}, "listen must be a list of str"),
        ({"cluster": "c", "peers": ["a:1", 2]}, "one of them is int"),
        ({"cluster": "c", "peers": ["a:1", object()]}, "peers"),
        ({"cluster": "c", "peers": ("a:1", "b")}, "peers has \"b\": it has no port"),
        ({"cluster": "c", "peers": ["\ud800"]}, "peers"),
        ({"cluster": "c", "discovery": "dns"}, "dns"),
        ({"cluster": "c", "discovery": True}, "discovery is text, not bool"),
        ({"cluster": "c", "failure_timeout": 0.099}, "from 100ms to 60s"),
        ({"cluster": "c", "failure_timeout": 61}, "from 100ms to 60s"),
        ({"cluster": "c", "failure_timeout": "2"}, "60s"),
        ({"cluster": "c", "tls": "ca.pem"}, "tls must be a mapping"),
        ({"cluster": "c", "tls": True}, "tls must be a mapping"),
        ({"cluster": "c", "tls": {**TLS, "crt": "x"}}, "did you mean 'cert'"),
        ({"cluster": "c", "tls": {"ca": "ca.pem", "key": "key.pem"}}, "tls lacks cert"),
        ({"cluster": "c", "tls": {**TLS, "cert": 5}}, "tls.cert is text, not int"),
        ({"cluster": "c", "tls": {**TLS, "cert": b"cert.pem"}}, "tls.cert is text, not bytes"),
        ({"cluster": "c", "tls": {**TLS, 5: "x"}}, "a name in tls"),
    ]
    for options, message in cases:
        with pytest.raises(minikv.InvalidArgument, match=message):
            make(**options)
    for misspelt, right in (("clustr", "cluster"), ("peer", "peers"), ("listens", "listen")):
        with pytest.raises(minikv.UnknownOption, match=f"did you mean '{right}'"):
            make(**{misspelt: "x"})


def test_tls_takes_any_mapping_and_paths() -> None:
    class Broken(dict[str, Any]):
        pass

    paths = {name: Path(path) for name, path in TLS.items()}
    mappings: list[Mapping[str, Any]] = [paths, MappingProxyType(TLS), Broken(TLS)]
    for tls in mappings:
        # They were read: what is refused is that there is no cluster.
        with pytest.raises(minikv.InvalidArgument, match="tls is given without cluster"):
            minikv.Registry(tls=tls)

    class Raising:
        def __fspath__(self) -> str:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        minikv.Registry(cluster="c", tls={**TLS, "ca": Raising()})
