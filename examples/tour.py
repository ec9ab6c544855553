"""A tour of minikv: a registry, values, ttls, locks, watches."""

import minikv


def main() -> None:
    # A registry that the whole process finds under its name; entries live for a minute unless told otherwise.
    with minikv.Registry("tour", default_ttl=60) as kv:
        # Put and get. An entry says what it is, who put it and how long it lives.
        kv.put("balance", 100)
        entry = kv.get("balance")
        assert entry is not None
        print("balance:", entry.value, entry.type, "by", entry.node)

        # A ttl of its own.
        short = kv.put("session", "abc", ttl=5)
        print("session expires in", short.expires_in, "s")

        # A lock with a label: who does not hold it may not write.
        kv.lock("balance", owner="worker-1")
        try:
            kv.put("balance", 0, owner="worker-2")
        except minikv.Locked as error:
            print("refused:", error.kind)
        kv.unlock("balance", owner="worker-1")

        # The scoped form: the guard writes under its own lock.
        with kv.locked("balance", wait=5) as held:
            print("guarded:", held.put(90).value)

        # A counter.
        kv.incr("visits")
        print("visits:", kv.incr("visits", 2).value)

        # Everything that happens under a prefix.
        with kv.watch("user:") as events:
            kv.put("user:1", {"name": "ann"})
            kv.delete("user:1")
            for _ in range(2):
                event = next(events)
                print("event:", event.type, event.key)

        kv.put_many({"user:2": "bob", "user:3": "eve"})
        print("users:", sorted(kv.keys("user:")))
    # The end of the block stopped the registry.


if __name__ == "__main__":
    main()
