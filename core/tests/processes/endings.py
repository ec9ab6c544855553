"""How programs with a member end, and what they leave behind."""

import signal
import time
from pathlib import Path

from members import LANGUAGES, all_live, check, converged, until


def gone(member, others):
    for other in others:
        until(
            f"{other} notices that {member} is gone",
            lambda: all(m["state"] not in ("live", "joining") for m in other.call("members") if m["node"] == member.node),
        )


def programs_just_end(cluster):
    """A program that ends without stopping its member, by itself or by a signal, ends at once and stays away."""
    stays = cluster.member(LANGUAGES[0], "stays")
    stays.call("put", "k", "v")
    for language in LANGUAGES:
        for number, how in enumerate(("input", "stop", "interrupt", "terminate", "kill")):
            member = cluster.member(language, f"{language}-{how}", [stays])
            member.call("put", "k", member.node)
            until("it is sent", lambda: stays.call("get", "k")["value"] == member.node)
            if how == "input":
                member.end_of_input()
                member.ended("the end of its input")
            elif how == "stop":
                member.stop()
            else:
                sent = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)[number - 2]
                member.process.send_signal(sent)
                member.ended(sent.name, code=-sent)
            gone(member, [stays])
            check(stays.call("get", "k")["value"] == member.node, "what it put stays")
            # Its entries pass to who is there.
            check(stays.call("get", "k")["node"] == "stays", f"{stays.call('get', 'k')} has no owner")


def ends_with_a_wait_pending(cluster):
    """A program ends while it waits for a lock; one that holds a lock and dies frees it."""
    holder = cluster.member(LANGUAGES[0], "holder")
    holder.call("put", "k", "v")
    for language in LANGUAGES:
        until("it is free", lambda: not holder.call("get", "k")["lock"])
        fence = int(holder.call("lock", "k", wait=30000)["fence"])
        waits = cluster.member(language, f"waits-{language}", [holder])
        waits.send("lock", "k", beside=True, wait=60000)
        until("it waits", lambda: holder.call("waiters") == 1)
        waits.end_of_input()
        waits.ended("the end of its input while it waits")
        gone(waits, [holder])
        until("nobody waits", lambda: holder.call("waiters") == 0)
        holder.call("unlock", "k")
        dies = cluster.member(language, f"dies-{language}", [holder])
        until("it is there", lambda: dies.call("get", "k"))
        got = dies.call("lock", "k", wait=30000)
        waiting = holder.send("lock", "k", beside=True, wait=60000)
        dies.kill()
        again = holder.answer(waiting)["ok"]
        check(fence < int(got["fence"]) < int(again["fence"]), "the fence of a dead holder's key grows")
        holder.call("unlock", "k")


def restarts_under_the_same_name(cluster):
    """Killed or stopped, it comes back under its name and at its socket, and has everything again."""
    sockets = {name: cluster.socket(name) for name in ("a", "b")}
    a = cluster.member(LANGUAGES[0], "a", listen=sockets["a"])
    a.call("fill", "early:", 1000, 50)
    for number, language in enumerate(LANGUAGES):
        for how in ("kill", "input", "stop"):
            b = cluster.member(language, "b", [a], listen=sockets["b"])
            check(b.call("count", "early:") == 1000, f"{b} is synced and lacks entries")
            b.call("put", f"of:{number}", how)
            until("it is sent", lambda: (a.call("get", f"of:{number}") or {}).get("value") == how)
            check(a.call("get", f"of:{number}")["node"] == "b", "it has what it put")
            all_live([a, b])
            if how == "kill":
                b.kill()
                check(Path(sockets["b"][5:]).exists(), "the killed process leaves its socket")
            elif how == "input":
                b.end_of_input()
                b.ended("the end of its input")
            else:
                b.stop()
    b = cluster.member(LANGUAGES[-1], "b", [a], listen=sockets["b"])
    converged([a, b])
    check(b.call("count") == 1000 + len(LANGUAGES), "everything is there")


def a_namesake_is_turned_away(cluster):
    """A second of the same name is refused while the first lives; another endpoint in use is, too."""
    a = cluster.member(LANGUAGES[0], "a", listen=cluster.socket("a"))
    cluster.member(LANGUAGES[0], "other", [a])
    for language in LANGUAGES:
        second = cluster.begin(language, "a", peers=a.endpoints)
        error = second.refusal()
        check(error["error"] == "cluster", f"{second}: {error}")
        second.ended("a refused start", code=1)
        there = cluster.begin(language, "b", listen=cluster.socket("a"))
        error = there.refusal()
        check(error["error"] == "io", f"{there}: {error}")
        there.ended("a refused start", code=1)
    check(a.call("get", "k") is None, "the first goes on")


def nothing_is_left(cluster):
    """No process of these became a zombie, and who stopped left no socket behind."""
    for number, language in enumerate(LANGUAGES):
        name = f"{language}{number}"
        member = cluster.member(language, name, listen=cluster.socket(name))
        check(Path(cluster.socket(name)[5:]).exists(), f"{member} has no socket")
        started = time.monotonic()
        member.stop()
        print(f"       {member} stopped and ended in {time.monotonic() - started:.2f} s")
        left = Path(cluster.socket(member.node)[5:])
        check(not left.exists(), f"{member} left its socket {left}")
        check(not Path(f"/proc/{member.process.pid}").exists(), f"{member} is still there")


CASES = [
    programs_just_end,
    ends_with_a_wait_pending,
    restarts_under_the_same_name,
    a_namesake_is_turned_away,
    nothing_is_left,
]
