"""Joining a big table while it is written to, and members that take nothing."""

import os
import time

from members import LANGUAGES, all_live, check, converged, in_parallel, live, until

BIG = int(os.environ.get("MINIKV_BIG", 100_000))
PAUSE_US = 200


def shown(times):
    return f"p50 {times['p50'] / 1e3:.0f} µs, p99 {times['p99'] / 1e3:.0f} µs, max {times['max'] / 1e6:.1f} ms"


def a_big_table_is_joined_while_it_is_written(cluster):
    """The joiner has everything, and what was put meanwhile; the writers are not held up."""
    languages = (LANGUAGES * 3)[:3]
    a, b = cluster.members(languages[0], languages[1])
    a.call("fill", "big:", BIG, 100)
    converged([a, b], prefix="hot:")
    calm = a.call("burst", "calm:", 100, 50, "calm", PAUSE_US)
    writing = [
        member.send("burst", f"hot:{member.node}:", 2000, 5, "hot", PAUSE_US, beside=True) for member in (a, b)
    ]
    began = time.monotonic()
    c = cluster.member(languages[2], "c", [a, b])
    took = time.monotonic() - began
    count = c.call("count", "big:")
    check(count == BIG, f"the joiner says it is synced and has {count} of {BIG} entries")
    busy = [member.answer(answer)["ok"] for member, answer in zip((a, b), writing)]
    print(f"       {BIG} entries joined in {took:.2f} s, the start of its process included")
    print(f"       puts before: {shown(calm)}")
    for member, times in zip((a, b), busy):
        print(f"       puts of {member} meanwhile: {shown(times)}")
    for times in busy:
        # Bounds that only a put which waits for somebody would break.
        check(times["p99"] < 100e6, f"puts were held up: {shown(times)}")
        check(times["max"] < 5e9, f"a put stood still: {shown(times)}")
    all_live([a, b, c])
    converged([a, b, c], prefix="hot:")
    check(c.call("count", "hot:") == 4000, "the joiner lacks what was put meanwhile")


def many_join_at_once(cluster):
    """All start at the same moment and know only the first: all see all, all have everything."""
    first = cluster.member(LANGUAGES[0], "a")
    first.call("fill", "big:", BIG // 10, 100)
    names = "bcdefg"
    begun = [
        cluster.begin(LANGUAGES[n % len(LANGUAGES)], name, peers=first.endpoints) for n, name in enumerate(names)
    ]
    members = [first] + [member.wait_started() for member in begun]
    in_parallel(*(member.synced for member in members))
    for member in members:
        check(member.call("count", "big:") == BIG // 10, f"{member} is synced and lacks entries")
    all_live(members)
    converged(members, prefix="big:1")


def all_start_at_the_same_moment(cluster):
    """Nobody was there before: they find each other all the same, and agree on one coordinator."""
    sockets = [cluster.socket(f"{n}.sock") for n in range(4)]
    begun = [
        cluster.begin(
            LANGUAGES[n % len(LANGUAGES)], "abcd"[n], listen=own, peers=[s for s in sockets if s != own], failure=2500
        )
        for n, own in enumerate(sockets)
    ]
    members = [member.wait_started() for member in begun]
    in_parallel(*(member.synced for member in members))
    all_live(members)
    in_parallel(*(lambda m=m: m.call("fill", f"{m.node}:", 1000, 20) for m in members))
    converged(members)
    check(members[0].call("count") == 4000, "entries are missing")
    members[0].call("put", "k", "v")
    fences = []
    for member in members:
        until("all have it", lambda: all(one.call("get", "k") for one in members))
        fences.append(int(member.call("lock", "k", wait=30000)["fence"]))
        for other in members:
            if other is not member:
                check(other.refused("lock", "k") == "locked", f"{other} is granted what {member} holds")
        member.call("unlock", "k")
    check(fences == sorted(set(fences)), f"fences do not grow: {fences}")


def a_frozen_member_holds_nobody_up(cluster):
    """Puts of the others go on; what the frozen one missed it gets when it goes on."""
    members = cluster.members(*(LANGUAGES * 3)[:3])
    writer, other, frozen = members
    calm = writer.call("burst", "calm:", 100, 50, "calm", PAUSE_US)
    frozen.freeze()
    # More than its socket's buffers take, so that the sender is held up.
    held = writer.call("burst", "held:" + "x" * 100, 5000, 4, "y" * 1000, 0)
    after = writer.call("burst", "after:", 1000, 10, "after", PAUSE_US)
    print(f"       puts before: {shown(calm)}")
    print(f"       puts while one is frozen, at full speed: {shown(held)}")
    print(f"       puts while one is frozen, in peace: {shown(after)}")
    for times in (held, after):
        check(times["p99"] < 100e6, f"puts were held up: {shown(times)}")
        check(times["max"] < 5e9, f"a put stood still: {shown(times)}")
    until("the others notice", lambda: frozen.node not in live(writer) | live(other))
    converged([writer, other], prefix="after:1")
    frozen.thaw()
    all_live(members)
    converged(members, prefix="after:1")


CASES = [
    a_big_table_is_joined_while_it_is_written,
    many_join_at_once,
    all_start_at_the_same_moment,
    a_frozen_member_holds_nobody_up,
]
