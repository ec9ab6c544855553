"""Processes of all languages, tormented at random; then quiet; then every rule is checked."""

import os
import random
import threading
import time

from members import LANGUAGES, Failed, Gone, Refused, all_live, check, converged, dump, free_port, in_parallel, until

SECONDS = float(os.environ.get("MINIKV_CHAOS_SECONDS", 20))
SEED = int(os.environ.get("MINIKV_CHAOS_SEED", 0)) or random.randrange(1, 1 << 32)
SIZE = max(6, len(LANGUAGES))
FAILURE = 1000
# As many must be well and synced before the next torment.
WELL = SIZE - 2
PUT_KEYS, MIXED_KEYS, LOCK_KEYS = 40, 20, 12


class Seat:
    """A name and its endpoint; one process after the other sits on it and works."""

    def __init__(self, chaos, number):
        self.chaos, self.node = chaos, f"m{number}"
        self.language = LANGUAGES[number % len(LANGUAGES)]
        self.listen = (
            chaos.cluster.socket(f"{self.node}.sock") if number % 2 else f"127.0.0.1:{free_port()}"
        )
        self.chance = random.Random(f"{SEED} {number}")
        self.member, self.synced = None, threading.Event()
        # One takes locks and may wait long for them; the other never waits for anybody.
        works = (self.locks, self.writes)
        self.threads = [threading.Thread(target=self.work, args=(work,), daemon=True) for work in works]

    def start(self):
        peers = [seat.listen for seat in self.chaos.seats if seat is not self]
        member = self.chaos.cluster.begin(
            self.language, self.node, listen=self.listen, peers=peers, failure=FAILURE
        )
        self.member = member.wait_started()
        member.killed = False

    def work(self, step):
        while not self.chaos.over.is_set():
            member = self.member
            try:
                if not self.synced.is_set():
                    member.synced()
                    self.synced.set()
                step(member)
            except Gone:
                # Until the next process sits here.
                self.chaos.over.wait(0.05)
            except Refused as error:
                if error.kind == "stopped":
                    self.chaos.over.wait(0.05)
                elif error.kind not in ("locked", "stale_fence", "cluster"):
                    self.chaos.wrong(f"{member}: {error}")
            except Failed as error:
                self.chaos.wrong(str(error))
                return

    def locks(self, member):
        self.lock(member, f"lock:{self.chance.randrange(LOCK_KEYS)}")

    def writes(self, member):
        chance = self.chance
        kind = chance.random()
        if kind < 0.6:
            self.put(member, f"put:{chance.randrange(PUT_KEYS)}")
        elif kind < 0.95:
            key = f"mixed:{chance.randrange(MIXED_KEYS)}"
            if chance.random() < 0.5:
                member.call("put", key, self.chaos.value())
            else:
                member.call("delete", key)
        else:
            member.call(chance.choice(["members", "digest", "stats", "endpoints"]))
        if chance.random() < 0.5:
            time.sleep(chance.uniform(0, 0.01))

    def put(self, member, key):
        value = self.chaos.value()
        entry = member.call("put", key, value)
        with self.chaos.lock:
            self.chaos.puts.append((member, key, value, int(entry["time"])))

    def lock(self, member, key):
        owner = f"{self.node}-{self.chaos.value()}"
        wait = self.chance.choice([0, 50, 2000])
        answer = member.full("lock", key, beside=True, owner=owner, wait=wait)
        if answer["ok"] is None:
            member.call("put", key, "first")
            return
        fence = int(answer["ok"]["fence"])
        # Moments at which the holder was sure of itself: each is the beginning of a call that went well.
        hold = Hold(member, key, fence, answer["began"], answer["ended"])
        with self.chaos.lock:
            self.chaos.holds.append(hold)
        try:
            for n in range(self.chance.randrange(4)):
                time.sleep(self.chance.choice([0, 0.001, 0.05]))
                done = member.full("put", key, f"{fence}.{n}", owner=owner, fence=fence)
                hold.sure.append(done["began"])
                if done["ok"]["fence"] != str(fence):
                    self.chaos.wrong(f"{member}: a put under fence {fence} shows {done['ok']}")
            if self.chance.random() < 0.9:
                done = member.full("unlock", key, owner=owner, fence=fence)
                hold.sure.append(done["began"])
            else:
                # Left to itself: only the end of its process frees it, or this.
                time.sleep(0.2)
                member.call("unlock", key, owner=owner, fence=fence)
        except Refused as error:
            hold.lost = error.kind
            raise


class Hold:
    def __init__(self, member, key, fence, asked, got):
        self.member, self.key, self.fence, self.asked, self.got = member, key, fence, asked, got
        self.sure, self.lost = [], None

    def last_sure(self):
        return max(self.sure, default=0)

    def __repr__(self):
        times = f"asked {self.asked} got {self.got} sure at {self.sure}"
        return f"{self.member} fence {self.fence} {times} {self.lost}"


class Chaos:
    def __init__(self, cluster):
        self.cluster, self.over, self.lock = cluster, threading.Event(), threading.Lock()
        self.chance = random.Random(SEED)
        self.puts, self.holds, self.errors, self.torments = [], [], [], []
        self._value = 0
        self.seats = []
        for number in range(SIZE):
            self.seats.append(Seat(self, number))

    def value(self):
        with self.lock:
            self._value += 1
            return f"v{self._value}"

    def wrong(self, what):
        with self.lock:
            self.errors.append(what)

    def note(self, what, member):
        with self.lock:
            self.torments.append((time.monotonic_ns(), what, member))

    def around(self, *holds):
        """What was done to whom while they held."""
        since = min(hold.asked for hold in holds) - 8 * 10**9
        until = max(max(hold.last_sure(), hold.got) for hold in holds) + 10**9
        return "; ".join(f"{at} {what} {member}" for at, what, member in self.torments if since < at < until)

    def torment(self, seat):
        member, chance = seat.member, self.chance
        how = chance.choice(["kill", "freeze", "freeze", "kill frozen", "stop", "input"])
        self.note(how, member)
        if how == "freeze":
            member.freeze()
            self.over.wait(chance.choice([0.1, 0.4, 0.9, 1.5, 2.5, 4]))
            member.thaw()
            self.note("thawed", member)
            return
        seat.synced.clear()
        member.killed = how.startswith("kill")
        if how == "kill frozen":
            member.freeze()
            self.over.wait(chance.uniform(0, 3))
        if member.killed:
            member.kill()
        elif how == "stop":
            member.stop()
        else:
            # What it has not sent yet goes with it, as with any end without a stop.
            member.killed = True
            member.end_of_input()
            member.ended("the end of its input")
        self.note("gone", member)
        self.over.wait(chance.choice([0, 0, 0.5, 2]))
        seat.start()
        self.note("back", seat.member)

    def run(self):
        in_parallel(*(seat.start for seat in self.seats))
        members = [seat.member for seat in self.seats]
        in_parallel(*(member.synced for member in members))
        all_live(members)
        for seat in self.seats:
            seat.synced.set()
        for n in range(LOCK_KEYS):
            members[0].call("put", f"lock:{n}", "first")
        for seat in self.seats:
            for thread in seat.threads:
                thread.start()
        end = time.monotonic() + SECONDS
        busy = {}
        while time.monotonic() < end and not self.errors:
            time.sleep(self.chance.uniform(0, 0.5))
            for seat, thread in list(busy.items()):
                if not thread.is_alive() and seat.synced.is_set():
                    del busy[seat]
            well = [seat for seat in self.seats if seat not in busy]
            if len(well) > WELL:
                seat = self.chance.choice(well)
                busy[seat] = threading.Thread(target=self.guarded, args=(seat,), daemon=True)
                busy[seat].start()
        self.over.set()
        for thread in [*busy.values(), *(thread for seat in self.seats for thread in seat.threads)]:
            thread.join(200)
            check(not thread.is_alive(), "somebody hangs")
        check(not self.errors, lambda: "; ".join(self.errors[:3]))

    def guarded(self, seat):
        try:
            self.torment(seat)
        except Exception as error:
            self.wrong(f"{seat.member}: {error!r}")


def exclusive(holds):
    """Whoever was sure of its lock was the only one who could be; fences grow."""
    by_key = {}
    for hold in holds:
        by_key.setdefault(hold.key, []).append(hold)
    overlaps = []
    for key, all_of_key in by_key.items():
        fences = [hold.fence for hold in all_of_key]
        check(len(set(fences)) == len(fences), f"{key}: a fence was granted twice: {sorted(fences)}")
        all_of_key.sort(key=lambda hold: hold.fence)
        asked_last = surest = all_of_key[0]
        for hold in all_of_key[1:]:
            # Granted before the other was asked for: its fence is lower.
            check(asked_last.asked < hold.got, f"{key}: a later grant has a lower fence: {asked_last}; {hold}")
            if surest.last_sure() > hold.got:
                overlaps.append((surest, hold))
            asked_last = max(asked_last, hold, key=lambda one: one.asked)
            surest = max(surest, hold, key=Hold.last_sure)
    return overlaps


def chaos(cluster):
    """Killed, frozen, stopped and restarted while they put, delete and lock: afterwards nothing is wrong."""
    print(f"       MINIKV_CHAOS_SEED={SEED} MINIKV_CHAOS_SECONDS={SECONDS:g}")
    torture = Chaos(cluster)
    torture.run()
    members = [seat.member for seat in torture.seats]
    hows = [how for _, how, _ in torture.torments if how not in ("thawed", "gone", "back")]
    counts = ", ".join(f"{hows.count(how)} × {how}" for how in sorted(set(hows)))
    print(f"       {len(torture.puts)} puts, {len(torture.holds)} locks, {counts}")
    check(torture.holds and torture.puts, "nothing was done")
    all_live(members)
    converged(members)
    overlaps = exclusive(torture.holds)
    check(not overlaps, lambda: f"{len(overlaps)} locks held by two: {overlaps[0]}: {torture.around(*overlaps[0])}")
    # What a process put that was not killed is never older than what stands.
    stands = dump(members[0], "put:")
    for member, key, value, at in torture.puts:
        if not member.killed:
            shown = stands.get(key)
            check(shown and int(shown["time"]) >= at, lambda: f"{key}: {value} of {member} at {at} is lost: {shown}")
    known = {value for _, _, value, _ in torture.puts}
    check(all(entry["value"] in known for entry in stands.values()), "a value that nobody put")
    for member in members:
        stats = member.call("stats")
        check(stats["members"] == SIZE, f"{member} counts {stats}")
        check(stats["restarts"] == 0, f"a worker of {member} panicked: {stats}")
    in_parallel(
        *(
            (lambda m=m: m.stop()) if n % 2 else (lambda m=m: (m.end_of_input(), m.ended("the end of its input")))
            for n, m in enumerate(members)
        )
    )


def chaos_with_tls(cluster):
    """The same, over links that are encrypted."""
    cluster.secured = True
    chaos(cluster)


CASES = [chaos, chaos_with_tls]
