"""Eight threads on one registry: no lost update, counts add up, nothing is stuck."""

from __future__ import annotations

import os
import random
import threading
import time
from typing import Any

import minikv

SECONDS = float(os.environ.get("MINIKV_HAMMER_SECONDS", "30"))
THREADS = 8
PATIENCE = 120.0


def test_hammer() -> None:
    with minikv.Registry("hammer") as kv:
        kv.put_many({"counter": 0, "updated": 0, "guarded": 0, "locked": 0})
        end = time.monotonic() + SECONDS
        failures: list[BaseException] = []
        counts = [dict.fromkeys(("counter", "updated", "guarded", "locked"), 0) for _ in range(THREADS)]
        balance = [0] * THREADS
        computed: dict[str, int] = {}
        events: dict[str, int] = {}
        everything = kv.watch("counter", capacity=1 << 20)

        def work(me: int) -> None:
            rng = random.Random(me)
            own = counts[me]

            def add(value: int) -> int:
                return value + 1

            while time.monotonic() < end:
                match rng.randrange(14):
                    case 0:
                        kv.incr("counter")
                        own["counter"] += 1
                    case 1:
                        kv.update("updated", add)
                        own["updated"] += 1
                    case 2:
                        with kv.locked("guarded", wait=PATIENCE) as held:
                            entry = held.get()
                            assert entry is not None
                            held.put(entry.value + 1)
                            own["guarded"] += 1
                    case 3:
                        owner = f"w{me}"
                        entry = kv.lock("locked", owner=owner, wait=PATIENCE, lease=60)
                        assert entry is not None and entry.fence is not None
                        kv.put("locked", kv["locked"] + 1, owner=owner, fence=entry.fence)
                        kv.unlock("locked", owner=owner)
                        own["locked"] += 1
                    case 4:
                        kv.put(f"mine:{me}:{rng.randrange(100)}", {"n": [1, 2, 3], "who": me})
                    case 5:
                        kv.delete(f"mine:{me}:{rng.randrange(100)}")
                    case 6:
                        kv.put(f"short:{rng.randrange(50)}", "x" * rng.randrange(2000), ttl=0.002)
                    case 7:
                        for entry in kv.entries(f"mine:{me}:"):
                            assert entry.value == {"n": [1, 2, 3], "who": me}
                    case 8:
                        key = f"once:{rng.randrange(1000)}"

                        def compute(key: str = key) -> int:
                            computed[key] = computed.get(key, 0) + 1
                            return 1

                        assert kv.get_or_put(key, compute).value == 1
                    case 9:
                        kv.put_many({f"pair:{me}:a": me, f"pair:{me}:b": me})
                        a, b = kv.get_many([f"pair:{me}:a", f"pair:{me}:b"])
                        assert a is not None and b is not None and a.value == b.value
                    case 10:
                        with kv.watch(f"mine:{me}:") as watch:
                            kv.put(f"mine:{me}:0", {"n": [1, 2, 3], "who": me})
                            event = watch.next(PATIENCE)
                            assert event is not None and event.type == "put"
                    case 11:
                        try:
                            kv.put("counter", 0, if_absent=True)
                            raise AssertionError("it was present")
                        except minikv.Conflict as error:
                            assert error.entry is not None
                    case 12:
                        n = rng.randrange(1, 10)
                        kv.incr(f"account:{me}", n)
                        kv.incr(f"account:{(me + 1) % THREADS}", -n)
                    case _:
                        assert kv.stats()["healthy"] and kv.count() > 0

        def guarded(me: int) -> None:
            try:
                work(me)
            except BaseException as error:  # noqa: BLE001 - told at the end
                failures.append(error)

        def read() -> None:
            for event in everything:
                events[event.type] = events.get(event.type, 0) + event.count

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        threads = [threading.Thread(target=guarded, args=(me,), daemon=True) for me in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS + PATIENCE)
        assert not any(thread.is_alive() for thread in threads), "stuck"
        assert failures == []

        totals: dict[str, Any] = {name: sum(own[name] for own in counts) for name in counts[0]}
        assert {name: kv[name] for name in totals} == totals
        assert all(total > 0 for total in totals.values()), totals
        accounts = [kv.value(f"account:{me}", 0) for me in range(THREADS)]
        assert sum(accounts) == sum(balance) == 0
        assert set(computed.values()) <= {1}, "computed twice"
        stats = kv.stats()
        assert stats["locks"] == 0 and stats["waiters"] == 0 and stats["worker_restarts"] == 0
        everything.close()
        reader.join(PATIENCE)
        assert not reader.is_alive()
        assert events == {"put": totals["counter"]}
