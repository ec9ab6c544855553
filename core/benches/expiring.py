"""How late expiry is told: minikv, moka, and Redis with the notifications of its own."""

import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

import plotting
import redis_server

STORES = ("minikv", "moka", "redis")
# Redis looks for what has expired at its leisure: what has not come by then counts as this late.
LONGEST = 120


def measure(program: pathlib.Path, entries: int, repetitions: int, result) -> tuple[list[dict], dict]:
    """The rows, and for each store how late (in ms) each hundredth of the events came."""
    ours = []
    for repetition in range(repetitions):
        print(f"\rexpiry: minikv {repetition + 1}/{repetitions}        ", end="", file=sys.stderr, flush=True)
        ours.append(of_program(program, "minikv", entries))
    print("\rexpiry: moka, redis        ", end="", file=sys.stderr, flush=True)
    late = {"minikv": ours[-1]["late"], "moka": of_program(program, "moka", entries)["late"]}
    if redis_server.hindrance() is None:
        late["redis"] = of_redis(entries, entries / 100_000)
    peers = {store: [hundredths[99]] for store, hundredths in late.items() if store != "minikv"}
    medians = {store: [hundredths[50]] for store, hundredths in late.items() if store != "minikv"}
    before = [each["get_p99"][0] for each in ours]
    during = [each["get_p99"][1] for each in ours]
    rows = [
        result("expiry-p50", "ms", [each["late"][50] for each in ours], medians, None, None),
        result("expiry-p99", "ms", [each["late"][99] for each in ours], peers, "absolute", 50),
        result("expiry-cpu", "% of a core", [100 * each["sweeper"] for each in ours], {}, "absolute", 5),
        result("expiry-get-p99", "ns", during, {"idle": before}, "idle", 2),
    ]
    return rows, late


def of_program(program: pathlib.Path, store: str, entries: int) -> dict:
    command = [str(program), "expiry", store, str(entries)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def of_redis(entries: int, spread: float) -> list[float]:
    with tempfile.TemporaryDirectory() as folder, redis_server.run(folder) as client:
        client.config_set("notify-keyspace-events", "Ex")
        late, told = [], client.pubsub(ignore_subscribe_messages=True)
        told.subscribe("__keyevent@0__:expired")
        told.get_message(timeout=5)
        first = time.time() + entries * 12e-6 + 1.5
        due = [first + spread * number / entries for number in range(entries)]
        last = due[-1] + LONGEST

        def listen() -> None:
            while len(late) < entries and time.time() < last:
                message = told.get_message(timeout=1)
                if message:
                    late.append((time.time() - due[int(message["data"])]) * 1e3)

        listener = threading.Thread(target=listen)
        listener.start()
        redis_server.fill(client, entries, str, lambda number: int(due[number] * 1e3))
        listener.join()
    late += [LONGEST * 1e3] * (entries - len(late))
    late.sort()
    return [late[(entries - 1) * n // 100] for n in range(101)]


def plot(late: dict[str, list[float]], out: pathlib.Path) -> None:
    figure, axis = plotting.pyplot().subplots(figsize=(7, 3), constrained_layout=True)
    for store, color in zip(STORES, ("#b5651d", "#446688", "#8899aa")):
        if store in late:
            axis.plot([max(ms, 0.01) for ms in late[store]], range(101), label=store, color=color)
    axis.set_xscale("log")
    axis.set_xlabel("ms after its time", fontsize=8)
    axis.set_ylabel("% of expiry events told", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.legend(fontsize=7)
    plotting.save(figure, out, "expiry")
