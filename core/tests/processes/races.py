"""Members that want the same thing at the same moment."""

import time

from members import FAILURE_MS, LANGUAGES, check, converged, dump, in_parallel, until

LOCKS = 500
KEYS, ROUNDS = 50, 2000


def pairs():
    """Each language at least once, two at a time."""
    first, second = LANGUAGES[0], LANGUAGES[-1]
    found = [(first, second)]
    if len(LANGUAGES) > 3:
        found.append((LANGUAGES[1], LANGUAGES[2]))
    return found


def made(members, prefix, count):
    """Puts so many keys and waits until all members have them."""
    members[0].call("fill", prefix, count, 1)
    for member in members:
        until(f"{member} has {prefix}", lambda: member.call("count", prefix) == count)


def locks_tried_once(cluster):
    """Two members try 500 locks at the same time and keep what they get: nobody gets what the other has."""
    for number, languages in enumerate(pairs()):
        a = cluster.member(languages[0], f"a{number}")
        b = cluster.member(languages[1], f"b{number}", [a])
        prefix = f"try{number}:"
        made([a, b], prefix, LOCKS)
        # A pause after each lock that was got, longer than asking takes, so that neither leaves the other behind.
        races = [lambda m=m: m.call("race", prefix, LOCKS, keep=1, hold=3000, owner="same") for m in (a, b)]
        got = in_parallel(*races)
        names = [{key for key, *_ in one} for one in got]
        twice = names[0] & names[1]
        check(not twice, f"{len(twice)} of {LOCKS} locks granted twice, such as {min(twice, default='')}")
        missing = LOCKS - len(names[0] | names[1])
        check(not missing, f"{missing} of {LOCKS} locks were granted to nobody")
        check(all(names), f"one member got nothing: {[len(one) for one in names]}")
        print(f"       {a} got {len(names[0])}, {b} got {len(names[1])}")
        converged([a, b])
        holders = dump(a, prefix)
        for one in got:
            for key, fence, *_ in one:
                shown = holders[f"{prefix}{key}"]
                check(shown["lock"] and shown["fence"] == fence, f"{key}: {shown} instead of fence {fence}")
        for member in (a, b):
            member.stop()


def locks_waited_for(cluster):
    """All members want each of 500 locks and wait for it: they hold it one after the other, fences grow."""
    members = cluster.members(*LANGUAGES)
    made(members, "wait:", LOCKS)
    races = [
        lambda m=m: m.call("race", "wait:", LOCKS, wait=60000, hold=200, owner="same") for m in members
    ]
    started = time.monotonic()
    got = in_parallel(*races)
    took = time.monotonic() - started
    for member, one in zip(members, got):
        check(len(one) == LOCKS, f"{member} got {len(one)} of {LOCKS} locks")
    holds = sorted((key, start, end, int(fence)) for one in got for key, fence, start, end in one)
    for before, after in zip(holds, holds[1:]):
        if before[0] == after[0]:
            check(before[2] <= after[1], f"two critical sections of key {before[0]} overlap: {before} {after}")
            check(before[3] < after[3], f"the fence of key {before[0]} does not grow: {before} {after}")
    print(f"       {len(holds)} locks in {took:.1f} s, {took / len(holds) * 1e6:.0f} µs each")
    converged(members)


def writes_from_two(cluster):
    """Two members write 50 keys 2,000 times each at the same time: no key differs at the end."""
    for number, languages in enumerate(pairs()):
        a = cluster.member(languages[0], f"a{number}")
        b = cluster.member(languages[1], f"b{number}", [a])
        prefix = f"both{number}:"
        in_parallel(*(lambda m=m: m.call("burst", prefix, KEYS, ROUNDS, m.node, 0) for m in (a, b)))
        converged([a, b])
        values = {entry["value"] for entry in dump(a, prefix).values()}
        check(len(dump(b, prefix)) == KEYS, "keys are missing")
        last = {f"{m.node}:{ROUNDS - 1}" for m in (a, b)}
        check(values <= last, f"an earlier value stands: {sorted(values - last)[:3]}")
        for member in (a, b):
            member.stop()


def delete_by_a_stranger(cluster):
    """Whoever has not the lock does not delete, put or unlock, from whichever member."""
    members = cluster.members(*LANGUAGES)
    for holder in members:
        key = f"mine:{holder.node}"
        holder.call("put", key, "value")
        fence = holder.call("lock", key, owner="me")["fence"]
        for other in members:
            until(f"{other} sees the lock", lambda: (other.call("get", key) or {}).get("lock"))
            # The same label on another member is another holder.
            label = "me" if other is not holder else "not-me"
            for verb, words in (("delete", []), ("put", ["other"]), ("unlock", [])):
                kind = other.refused(verb, key, *words, owner=label)
                check(kind == "locked", f"{other}: {verb} gave {kind}")
            check(other.refused("put", key, "x", fence=int(fence) - 1) == "stale_fence", "an old fence is taken")
        for other in members:
            shown = other.call("get", key)
            check(shown and shown["value"] == "value" and shown["lock"], f"{other} has {shown}")
        check(holder.call("delete", key, owner="me"), "the holder deletes")
        for other in members:
            until(f"{other} has lost {key}", lambda: other.call("get", key) is None)
    converged(members)


def a_frozen_holder_is_deposed(cluster):
    """Who is frozen for too long loses its locks, is told once, and its late writes do not stand."""
    for number, languages in enumerate(pairs()):
        names = [f"{name}{number}" for name in "abc"]
        first = cluster.member(languages[0], names[0])
        holder = cluster.member(languages[1], names[1], [first])
        third = cluster.member(languages[0], names[2], [first, holder])
        everyone = [first, holder, third]
        for key in ("plain", "guarded", "waited"):
            holder.call("put", f"{key}{number}", "before")
        plain, guarded, waited = (f"{key}{number}" for key in ("plain", "guarded", "waited"))
        fences = {
            plain: holder.call("lock", plain, owner="me")["fence"],
            guarded: holder.call("guard", "g", guarded)["fence"],
            waited: holder.call("lock", waited)["fence"],
        }
        for member in everyone:
            until("all see the locks", lambda: all(member.call("get", key)["lock"] for key in fences))
        check(third.refused("lock", plain) == "locked", "a held lock is granted")
        waiting = third.send("lock", waited, beside=True, wait=60000)
        holder.freeze()
        # Told before it can know: it reads these when it goes on.
        taken = {}
        for key in (plain, guarded):
            taken[key] = int(until("the lock passes on", lambda: take(third, key))["fence"])
            third.call("put", key, "after", fence=taken[key])
        taken[waited] = int(third.answer(waiting)["ok"]["fence"])
        late = [
            holder.send("put", plain, "late", owner="me", fence=fences[plain]),
            holder.send("guard_put", "g", "late"),
            holder.send("put", plain, "late", owner="me"),
            holder.send("unlock", waited),
        ]
        holder.thaw()
        kinds = [refusal(holder, one) for one in late]
        check(kinds[0] in ("stale_fence", "locked"), f"a put under the old fence: {kinds[0]}")
        check(kinds[1] == "lock_lost", f"a put through the old guard: {kinds[1]}")
        # Without a fence a write is that of a stranger: it either is refused or loses.
        check(kinds[2] in ("locked", None), f"a put with the old owner: {kinds[2]}")
        for key, fence in fences.items():
            check(taken[key] > int(fence), f"{key}: the new fence is not higher: {taken[key]} {fence}")
        until("the guard is told", lambda: holder.call("guard_state", "g") == {"lost": True, "told": 1})
        until("the holder sees it", lambda: holder.call("get", plain)["fence"] == str(taken[plain]))
        converged(everyone)
        for member in everyone:
            for key in (plain, guarded):
                shown = member.call("get", key)
                check(shown["value"] == "after", f"{member}: {key} is {shown}")
                check(shown["lock"] and int(shown["fence"]) == taken[key], f"{member}: {key} is {shown}")
        check(holder.call("guard_state", "g") == {"lost": True, "told": 1}, "the guard is told once")
        for member in everyone:
            member.stop()


def take(member, key):
    """The entry once the lock is granted; None as long as somebody has it."""
    from members import Refused

    try:
        return member.call("lock", key, wait=FAILURE_MS)
    except Refused as error:
        check(error.kind == "locked", f"lock gave {error}")


def refusal(member, future):
    from members import Refused

    try:
        member.answer(future)
    except Refused as error:
        return error.kind


def a_short_freeze_costs_nothing(cluster):
    """Who is frozen for less than the failure timeout keeps its locks."""
    members = cluster.members(LANGUAGES[0], LANGUAGES[-1], failure=6000)
    holder = members[1]
    holder.call("put", "k", "v")
    fence = holder.call("guard", "g", "k")["fence"]
    holder.freeze()
    time.sleep(1)
    holder.thaw()
    holder.call("guard_put", "g", "w")
    check(members[0].refused("lock", "k") == "locked", "the lock is still held")
    check(holder.call("guard_state", "g") == {"lost": False, "told": 0}, "the guard lost nothing")
    check(holder.call("get", "k")["fence"] == fence, "the fence is the same")


CASES = [
    locks_tried_once,
    locks_waited_for,
    writes_from_two,
    delete_by_a_stranger,
    a_frozen_holder_is_deposed,
    a_short_freeze_costs_nothing,
]
