"""One row for one store, in nanoseconds a call: rows.py ROW STORE ENTRIES."""

import random
import sys
import time


def key(number: int) -> str:
    return f"session:{number:012d}"


class Lmdb:
    """A transaction for each call, as a program without one around its calls has it."""

    def __init__(self, env):
        self.env = env

    def __getitem__(self, key: str) -> bytes:
        with self.env.begin() as txn:
            return txn.get(key.encode())

    def __setitem__(self, key: str, value: str) -> None:
        with self.env.begin(write=True) as txn:
            txn.put(key.encode(), value.encode())


# These cost microseconds a call: fewer calls will do.
SLOW = ("redis", "diskcache", "lmdb")


def main() -> None:
    row, store, entries = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if store == "minikv":
        import minikv

        kv = minikv.Registry()
        get, put = kv.get, kv.put
    elif store == "dict":
        kv = {}
        get, put = kv.get, kv.__setitem__
    elif store == "redis":
        import redis

        client = redis.Redis(unix_socket_path=sys.argv[4])
        get, put = client.get, client.set
        kv = type("Kv", (), {"__getitem__": lambda _, k: get(k), "__setitem__": lambda _, k, v: put(k, v)})()
    elif store == "diskcache":
        import diskcache

        kv = diskcache.Cache(sys.argv[4])
        get, put = kv.get, kv.set
    elif store == "lmdb":
        import lmdb

        kv = Lmdb(lmdb.open(sys.argv[4], map_size=1 << 28, sync=False))
        get, put = kv.__getitem__, kv.__setitem__
    else:
        import cachetools

        kv = cachetools.TTLCache(maxsize=10_000_000, ttl=3600)
        get, put = kv.get, kv.__setitem__
    value = "x" * 40
    for number in range(entries):
        kv[key(number)] = value
    keys = random.Random(42).choices([key(number) for number in range(1000)], k=10_000 if store in SLOW else 300_000)
    started = time.perf_counter_ns()
    if row == "py-item":
        for k in keys:
            kv[k]
    elif row == "py-get":
        for k in keys:
            get(k)
    else:
        for k in keys:
            put(k, value)
    print((time.perf_counter_ns() - started) / len(keys))


main()
