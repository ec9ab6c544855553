"""Members in network namespaces of their own, whose links are cut, cut one way, slow, and healed."""

import contextlib
import itertools
import os
import random
import shutil
import subprocess
import time

from members import LANGUAGES, Refused, all_live, check, converged, in_parallel, live, until

_numbers = itertools.count(1)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    check(done.returncode == 0, lambda: f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def hindrance():
    """Why nothing of this can run here."""
    if os.geteuid() != 0:
        return "it needs root"
    if not shutil.which("ip"):
        return "it needs ip (Debian: iproute2)"
    try:
        with Net() as net:
            net.room("a")
    except Exception as error:
        return f"namespaces cannot be made here: {error}"
    return None


class Room:
    """A namespace with one link to the bridge."""

    def __init__(self, net, name, number):
        self.net, self.space, self.address = net, f"{net.prefix}-{name}", f"10.213.7.{number}"
        self.outer, self.inner = f"{net.prefix}o{number}", f"{net.prefix}i{number}"
        run("ip", "netns", "add", self.space)
        net.rooms.append(self)
        run("ip", "link", "add", self.outer, "type", "veth", "peer", "name", self.inner)
        run("ip", "link", "set", self.inner, "netns", self.space)
        run("ip", "link", "set", self.outer, "master", net.bridge, "up")
        self.inside("ip", "address", "add", f"{self.address}/24", "dev", self.inner)
        self.inside("ip", "link", "set", "lo", "up")
        self.inside("ip", "link", "set", self.inner, "up")

    def inside(self, *command):
        return run("ip", "netns", "exec", self.space, *command)

    def cut(self):
        run("ip", "link", "set", self.outer, "down")

    def heal(self):
        run("ip", "link", "set", self.outer, "up")

    def silence(self, other):
        """What this one sends to the other is lost: the address leads nowhere. The other way is open."""
        self.inside(
            "ip", "neighbour", "replace", other.address, "lladdr", "02:00:00:00:00:01", "nud", "permanent", "dev", self.inner
        )

    def speak(self, other):
        self.inside("ip", "neighbour", "del", other.address, "dev", self.inner)

    def slow(self):
        """What this one sends takes long; how is the kernel's to have. Which way it was done."""
        ways = (
            ("netem", "delay", "80ms", "20ms"),
            ("tbf", "rate", "2mbit", "burst", "3000", "latency", "2000ms"),
        )
        for way in ways:
            with contextlib.suppress(Exception):
                self.inside("tc", "qdisc", "replace", "dev", self.inner, "root", *way)
                return way[0]
        return None


class Net:
    """A bridge and rooms. All of it is removed at the end."""

    def __init__(self):
        self.prefix = f"mkv{os.getpid() % 100000}{chr(ord('a') + next(_numbers) % 26)}"
        self.bridge, self.rooms = f"{self.prefix}b", []

    def __enter__(self):
        try:
            run("ip", "link", "add", self.bridge, "type", "bridge")
            run("ip", "link", "set", self.bridge, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for room in self.rooms:
            for command in (("link", "del", room.outer), ("netns", "del", room.space)):
                subprocess.run(("ip", *command), capture_output=True)
        subprocess.run(("ip", "link", "del", self.bridge), capture_output=True)

    def room(self, name):
        return Room(self, name, len(self.rooms) + 1)

    def members(self, cluster, names, failure=1000):
        """A member in each of so many rooms, which know each other's endpoints."""
        rooms = [self.room(name) for name in names]
        endpoints = [f"{room.address}:7447" for room in rooms]
        members = []
        for number, (name, room) in enumerate(zip(names, rooms)):
            language = LANGUAGES[number % len(LANGUAGES)]
            peers = [endpoint for endpoint in endpoints if endpoint != endpoints[number]]
            member = cluster.begin(
                language, name, listen=endpoints[number], peers=peers, failure=failure, inside=room.space
            )
            members.append(member.wait_started().synced())
        all_live(members)
        return rooms, members


def networked(case):
    def with_net(cluster):
        # The members end before their namespaces.
        with Net() as net:
            try:
                case(cluster, net)
            finally:
                for member in cluster.started:
                    member.abandon()

    with_net.__name__, with_net.__doc__ = case.__name__, case.__doc__
    return with_net


def lock(member, key, wait=20000):
    return int(member.call("lock", key, owner="me", wait=wait)["fence"])


def split(members, rooms, one, other):
    """Waits until each side sees itself only."""
    for room in (rooms[n] for n in other):
        room.cut()
    sides = [[members[n] for n in side] for side in (one, other)]
    for member in sides[0]:
        names = {m.node for m in sides[0]}
        until(lambda: f"{member} sees its side only", lambda: live(member) == names)
    return sides


@networked
def a_partition_heals(cluster, net):
    """One is cut off from three. Both sides write, delete and lock; then all agree, the higher fence stands."""
    rooms, members = net.members(cluster, "abcd")
    a, b, c, d = members
    for key in ("both", "only-d", "held-before", "gone", "changed"):
        a.call("put", key, "before")
    converged(members)
    before = d.call("guard", "before", "held-before")["fence"]
    until("all see the lock", lambda: a.call("get", "held-before")["lock"])
    split(members, rooms, [0, 1, 2], [3])
    until("it sees that it is alone", lambda: live(d) == {"d"})
    in_parallel(
        lambda: b.call("burst", "split:", 500, 4, "three", 0),
        lambda: d.call("burst", "split:", 500, 4, "one", 0),
    )
    a.call("delete", "gone")
    d.call("put", "changed", "changed-alone")
    # The one that is alone grants to itself, the three grant among them.
    alone = d.call("guard", "alone", "both", wait=20000)["fence"]
    three = c.call("guard", "three", "both", wait=20000)["fence"]
    d.call("guard", "only", "only-d", wait=20000)
    d.call("guard_put", "alone", "one")
    c.call("guard_put", "three", "three")
    passed = b.call("guard", "passed", "held-before", wait=20000)["fence"]
    check(int(passed) > int(before), "the lock of who is cut off passes on with a higher fence")
    # Who is alone cannot tell a cut from the death of all others: it goes on until it meets them.
    rooms[3].heal()
    all_live(members)
    converged(members)
    check(int(alone) != int(three), f"both sides drew the same fence: {alone}")
    winner, loser = ((c, "three"), (d, "alone")) if int(three) > int(alone) else ((d, "alone"), (c, "three"))
    for member, name in (loser, (d, "before")):
        until(f"{member} is told", lambda: member.call("guard_state", name) == {"lost": True, "told": 1})
    time.sleep(1)
    for member, name, lost in ((*winner, False), (*loser, True), (b, "passed", False), (d, "before", True)):
        state = member.call("guard_state", name)
        check(state == {"lost": lost, "told": int(lost)}, f"{member}: the guard {name} is {state}")
    # Of a lock that only one side wanted nobody else ever had a claim.
    state = d.call("guard_state", "only")
    check(state == {"lost": False, "told": 0}, f"the lock that one side granted alone: {state}")
    winner[0].call("guard_put", winner[1], "after")
    try:
        loser[0].call("guard_put", loser[1], "late")
        check(False, "the deposed one writes")
    except Refused as error:
        check(error.kind == "lock_lost", f"the deposed one gets {error}")
    converged(members)
    for member in members:
        shown = member.call("get", "both")
        check(shown["value"] == "after" and shown["fence"] == max(alone, three, key=int), f"{member} has {shown}")
        check(member.call("get", "gone") is None, f"{member} has what was deleted")
        shown = member.call("get", "changed")
        check(shown and shown["value"] == "changed-alone", f"{member} lacks a change: {shown}")
        check(member.call("count", "split:") == 500, f"{member} lacks entries")
    locks_go_round(members, "after")
    print(f"       fences: {alone} alone, {three} among three")


def locks_go_round(members, key):
    """Each has the lock once, and nobody else then; fences grow."""
    members[0].call("put", key, "free")
    until("all have it", lambda: all(member.call("get", key) for member in members))
    fences = [0]
    for member in members:
        fences.append(lock(member, key))
        for other in members:
            if other is not member:
                check(other.refused("lock", key) == "locked", f"{other} is granted what {member} holds")
        member.call("unlock", key, owner="me")
    check(fences == sorted(set(fences)), f"fences do not grow: {fences}")


@networked
def the_coordinator_is_cut_off(cluster, net):
    """Who grants locks is cut off, and so is one after the other: locks go round afterwards."""
    rooms, members = net.members(cluster, "abc")
    for number, room in enumerate(rooms):
        one, other = members[number], [member for member in members if member is not members[number]]
        key = f"held:{number}"
        one.call("put", key, "before")
        until("all have it", lambda: all(member.call("get", key) for member in members))
        guards = [one.call("guard", f"one:{number}", key)["fence"]]
        until("all see the lock", lambda: all(member.call("get", key)["lock"] for member in members))
        # It waits through the cut for what is let go after it.
        waiting = other[1].send("lock", key, beside=True, wait=60000)
        room.cut()
        until("the others lose it", lambda: all(one.node not in live(member) for member in other))
        guards.append(int(other[1].answer(waiting)["ok"]["fence"]))
        until("it loses the others", lambda: live(one) == {one.node})
        room.heal()
        all_live(members)
        until("it is told", lambda: one.call("guard_state", f"one:{number}") == {"lost": True, "told": 1})
        check(guards[1] > int(guards[0]), f"fences do not grow: {guards}")
        check(other[1].call("unlock", key), "the new holder unlocks")
        locks_go_round(members, f"after:{number}")
    converged(members)


@networked
def a_link_cut_one_way_heals(cluster, net):
    """What one sends to another is lost, the other way is open; all agree after it, and nobody hangs meanwhile."""
    rooms, members = net.members(cluster, "abc")
    a, b, c = members
    rooms[1].silence(rooms[0])
    in_parallel(*(lambda m=m: m.call("burst", "way:", 200, 10, m.node, 1000) for m in members))
    until("they lose each other", lambda: "b" not in live(a) and "a" not in live(b))
    for member in members:
        member.call("put", f"of:{member.node}", "v")
        member.call("digest")
        with contextlib.suppress(Refused):
            member.call("lock", f"of:{member.node}", wait=100)
    rooms[1].speak(rooms[0])
    all_live(members)
    converged(members)
    check(c.call("count") == 203, "entries are missing")


def around_a_pair(members, rooms, ways):
    """The coordinator and another one lose each other, both keep a third: it goes on, the other gets no lock and keeps none."""
    a, b, c = members
    for key in ("of-b", "of-c", "other"):
        a.call("put", key, "v")
    converged(members)
    before = int(b.call("guard", "kept", "of-b")["fence"])
    c.call("guard", "kept", "of-c")
    until("all see the lock", lambda: all(member.call("get", "of-b")["lock"] for member in members))
    for one, other in ways:
        rooms[one].silence(rooms[other])
    until("they lose each other", lambda: "b" not in live(a) and "a" not in live(b))
    passed = lock(c, "of-b", wait=60000)
    check(passed > before, f"fences do not grow: {passed} after {before}")
    until("b is told", lambda: b.call("guard_state", "kept") == {"lost": True, "told": 1})
    refusal = b.refused("lock", "other", wait=3000)
    check(refusal == "cluster", f"who does not reach the coordinator gets {refusal}")
    state = c.call("guard_state", "kept")
    check(state == {"lost": False, "told": 0}, f"who has lost nobody: {state}")
    for one, other in ways:
        rooms[one].speak(rooms[other])
    all_live(members)
    converged(members)
    locks_go_round(members, "after")


@networked
def a_pair_is_cut(cluster, net):
    """The coordinator and another lose each other, the third has both: locks stay exclusive, and go on."""
    rooms, members = net.members(cluster, "abc")
    around_a_pair(members, rooms, ((0, 1), (1, 0)))


@networked
def a_pair_is_cut_one_way(cluster, net):
    """The same, and only what the coordinator sends to one member is lost."""
    rooms, members = net.members(cluster, "abc")
    around_a_pair(members, rooms, ((0, 1),))


@networked
def slow_links_converge(cluster, net):
    """Each message takes its time: locks stay exclusive, tables become equal."""
    rooms, members = net.members(cluster, "abc", failure=4000)
    ways = {room.slow() for room in rooms}
    print(f"       slowed by {', '.join(str(way) for way in ways)}")
    check(None not in ways, "this kernel slows nothing")
    members[0].call("fill", "slow:", 100, 10)
    converged(members)
    holds = in_parallel(
        *(lambda m=m: m.call("race", "slow:", 100, wait=60000, hold=200, owner="same") for m in members)
    )
    got = sorted((key, start, end, int(fence)) for one in holds for key, fence, start, end in one)
    check(len(got) == 300, f"{len(got)} of 300 locks were granted")
    for before, after in zip(got, got[1:]):
        if before[0] == after[0]:
            check(before[2] <= after[1] and before[3] < after[3], f"not one after the other: {before} {after}")
    in_parallel(*(lambda m=m: m.call("burst", "wide:", 500, 4, "x" * 200, 0) for m in members))
    converged(members)


@networked
def joining_during_a_cut(cluster, net):
    """Who joins one side of a cut has that side's entries, and all after the cut."""
    rooms, members = net.members(cluster, "abc")
    members[0].call("fill", "before:", 2000, 50)
    converged(members)
    split(members, rooms, [0, 1], [2])
    until("it sees that it is alone", lambda: live(members[2]) == {"c"})
    members[0].call("fill", "two:", 500, 50)
    members[2].call("fill", "one:", 500, 50)
    room = net.room("d")
    peers = [f"{other.address}:7447" for other in rooms]
    joiner = cluster.begin(
        LANGUAGES[-1], "d", listen=f"{room.address}:7447", peers=peers, inside=room.space, failure=1000
    )
    joiner.wait_started().synced()
    check(joiner.call("count", "before:") == 2000, "the joiner lacks entries")
    check(joiner.call("count", "two:") == 500, "the joiner lacks entries of its side")
    joiner.call("fill", "joined:", 100, 50)
    rooms[2].heal()
    members.append(joiner)
    all_live(members)
    converged(members)
    check(members[2].call("count") == 3100, "entries are missing")


@networked
def links_flap(cluster, net):
    """Links go down and up many times while all write: all agree in the end."""
    rooms, members = net.members(cluster, "abcd")
    writing = [m.send("burst", "flap:", 300, 40, m.node, 300, beside=True) for m in members]
    seed = random.randrange(1 << 32)
    print(f"       seed {seed}")
    chance = random.Random(seed)
    for _ in range(12):
        room = chance.choice(rooms)
        room.cut()
        time.sleep(chance.uniform(0.05, 0.6))
        room.heal()
        time.sleep(chance.uniform(0, 0.3))
    for member, answer in zip(members, writing):
        member.answer(answer)
    all_live(members)
    converged(members)
    check(members[0].call("count", "flap:") == 300, "entries are missing")


def discovers(cluster, net):
    rooms = [net.room(name) for name in "abcd"]
    members = [
        cluster.begin(language, name, listen="0.0.0.0:7447", inside=room.space, discovery="multicast", failure=1000)
        for language, name, room in zip(itertools.cycle(LANGUAGES), "abcd", rooms)
    ]
    for member in members:
        member.wait_started().synced()
    all_live(members)
    for member, room in zip(members, rooms):
        check(member.endpoints == [f"{room.address}:7447"], f"{member} announces {member.endpoints}")
    members[3].call("put", "k", "v")
    converged(members)
    rooms[1].cut()
    until("it is missed", lambda: live(members[0]) == {"a", "c", "d"})
    rooms[1].heal()
    all_live(members)
    converged(members)


@networked
def they_find_each_other(cluster, net):
    """Nobody knows anybody's address: all meet by multicast, and again after a cut."""
    discovers(cluster, net)


@networked
def they_find_each_other_with_tls(cluster, net):
    """The same, and they prove who they are."""
    cluster.secured = True
    discovers(cluster, net)


CASES = [
    they_find_each_other,
    they_find_each_other_with_tls,
    a_partition_heals,
    the_coordinator_is_cut_off,
    a_link_cut_one_way_heals,
    a_pair_is_cut,
    a_pair_is_cut_one_way,
    slow_links_converge,
    joining_during_a_cut,
    links_flap,
]
