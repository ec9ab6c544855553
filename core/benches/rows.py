"""One row for one store, in nanoseconds a call: rows.py ROW STORE ENTRIES."""

import random
import sys
import time


def key(number: int) -> str:
    return f"session:{number:012d}"


def main() -> None:
    row, store, entries = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if store == "minikv":
        import minikv

        kv = minikv.Registry()
        get, put = kv.get, kv.put
    elif store == "dict":
        kv = {}
        get, put = kv.get, kv.__setitem__
    else:
        import cachetools

        kv = cachetools.TTLCache(maxsize=10_000_000, ttl=3600)
        get, put = kv.get, kv.__setitem__
    value = "x" * 40
    for number in range(entries):
        kv[key(number)] = value
    keys = random.Random(42).choices([key(number) for number in range(1000)], k=300_000)
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
