"""A member of a cluster that does what it is told; README.md says how."""

import json
import os
import sys
import threading
import time

import minikv

guards, told, seen_lock = {}, {}, threading.Lock()
seen = {"counts": {}, "members": [], "owners": []}
out_lock = threading.Lock()


def say(line):
    with out_lock:
        try:
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            # Nobody listens any more: the end of the input will say so too.
            sys.stdout = open(os.devnull, "w")


def split(words):
    options = dict(word.split("=", 1) for word in words if "=" in word)
    return [word for word in words if "=" not in word], options


def shown(entry):
    if entry is None:
        return None
    fence = None if entry.fence is None else str(entry.fence)
    return {
        "key": entry.key,
        "value": entry.value,
        "node": entry.node,
        "time": str(entry.time),
        "fence": fence,
        "lock": entry.lock,
    }


def write(options):
    fence = options.get("fence")
    return {"owner": options.get("owner"), "fence": None if fence is None else int(fence)}


def seconds(options, name):
    return None if name not in options else int(options[name]) / 1000


def lock(options):
    return {"owner": options.get("owner"), "wait": seconds(options, "wait"), "lease": seconds(options, "lease")}


def guard(kv, name, key, options):
    taken = kv.locked(key, **lock(options)).__enter__()
    told[name] = 0

    def on_lost():
        told[name] += 1

    taken.on_lost(on_lost)
    guards[name] = taken
    return {"fence": str(taken.fence)}


def named(name):
    if name not in guards:
        raise minikv.NotFound("there is no such guard")
    return guards[name]


def fill(kv, prefix, number, size):
    value = "v" * int(size)
    for n in range(int(number)):
        kv.put(f"{prefix}{n}", value)


def burst(kv, prefix, keys, rounds, label, pause):
    pause, took = int(pause) / 1e6, []
    for turn in range(int(rounds)):
        for n in range(int(keys)):
            key, value = f"{prefix}{n}", f"{label}:{turn}"
            began = time.monotonic_ns()
            kv.put(key, value)
            took.append(time.monotonic_ns() - began)
            if pause:
                time.sleep(pause)
    took.sort()
    at = lambda part: took[min(len(took) * part // 1000, len(took) - 1)]  # noqa: E731
    return {"puts": len(took), "p50": at(500), "p99": at(990), "max": took[-1]}


def race(kv, prefix, keys, options):
    got, hold, unlock = [], int(options.get("hold", 0)) / 1e6, "keep" not in options
    for n in range(int(keys)):
        key = f"{prefix}{n}"
        try:
            entry = kv.lock(key, **lock(options))
        except minikv.Locked:
            continue
        began = time.monotonic_ns()
        if hold:
            time.sleep(hold)
        got.append([n, str(entry.fence), began, time.monotonic_ns()])
        if unlock:
            kv.unlock(key, **write(options))
    return got


def note(watch):
    for event in watch:
        with seen_lock:
            seen["counts"][event.type] = seen["counts"].get(event.type, 0) + event.count
            if event.state is not None:
                seen["members"].append([event.node, event.state])
            if event.owner is not None:
                seen["owners"].append([event.node, event.owner])


def watch(kv, prefix):
    threading.Thread(target=note, args=(kv.watch(prefix),), daemon=True).start()


def members(kv):
    names = ("node", "incarnation", "state", "lag", "digest", "is_self", "namesake")
    return [{name: getattr(member, name) for name in names} for member in kv.members()]


def stats(kv):
    found = kv.stats()
    names = ("members", "repairs", "refused", "replicated_out", "replicated_in")
    counts = {name: found[name] for name in names}
    return counts | {"overflows": found["outbox_overflows"], "restarts": found["worker_restarts"]}


def events():
    with seen_lock:
        return json.loads(json.dumps(seen))


def run(kv, verb, words, options):
    first = words[0] if words else ""
    match verb:
        case "get":
            return shown(kv.get(first))
        case "put":
            return shown(kv.put(first, words[1], **write(options)))
        case "delete":
            return shown(kv.delete(first, **write(options)))
        case "lock":
            return shown(kv.lock(first, **lock(options)))
        case "unlock":
            return shown(kv.unlock(first, **write(options)))
        case "guard":
            return guard(kv, first, words[1], options)
        case "guard_put":
            return shown(named(first).put(words[1]))
        case "guard_state":
            return {"lost": named(first).lost, "told": told[first]}
        case "guard_release":
            named(first)
            return guards.pop(first).release()
        case "members":
            return members(kv)
        case "endpoints":
            return kv.endpoints()
        case "digest":
            return kv.digest()
        case "count":
            return kv.count(first)
        case "waiters":
            return kv.stats()["waiters"]
        case "sync":
            return kv.wait_synced(int(first) / 1000)
        case "stats":
            return stats(kv)
        case "dump":
            return [shown(entry) for entry in kv.entries(prefix=first)]
        case "fill":
            return fill(kv, *words)
        case "burst":
            return burst(kv, *words)
        case "race":
            return race(kv, *words, options)
        case "watch":
            return watch(kv, first)
        case "events":
            return events()
        case "stop":
            return kv.stop()
    raise minikv.InvalidArgument("there is no such verb")


def answer(kv, number, verb, words, options):
    began = time.monotonic_ns()
    try:
        reply = {"ok": run(kv, verb, words, options)}
    except minikv.MinikvError as error:
        reply = {"error": error.kind, "message": str(error)}
    ended = time.monotonic_ns()
    say({"id": number, **reply, "began": began, "ended": ended})


def start(options):
    def listed(name):
        return [one for one in options.get(name, "").split(",") if one]

    return minikv.Registry(
        node=options["node"],
        cluster=options["cluster"],
        listen=listed("listen") or None,
        peers=listed("peers") or None,
        failure_timeout=seconds(options, "failure"),
        discovery=options.get("discovery"),
        tls=dict(zip(("ca", "cert", "key"), listed("tls"))) or None,
    )


def main():
    _, options = split(sys.argv[1:])
    try:
        kv = start(options)
    except minikv.MinikvError as error:
        say({"error": error.kind, "message": str(error)})
        return 1
    say({"endpoints": kv.endpoints()})
    while line := sys.stdin.readline():
        number, *rest = line.split()
        beside = rest[0] == "&"
        verb, *rest = rest[1:] if beside else rest
        call = (kv, int(number), verb, *split(rest))
        if beside:
            threading.Thread(target=answer, args=call, daemon=True).start()
        else:
            answer(*call)
    return 0


if __name__ == "__main__":
    sys.exit(main())
