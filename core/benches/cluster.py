"""The rows of the cluster: members in processes of their own on loopback, and Redis with a replica beside them."""

import json
import pathlib
import shutil
import subprocess
import sys

import plotting

# experiment, whether Redis has the same, repetitions when quick and else
EXPERIMENTS = [
    ("put-40", True, 2, 5),
    ("put-100", True, 1, 5),
    ("lag", False, 1, 3),
    ("join", True, 1, 3),
    ("members", True, 1, 3),
]

# row, unit, how the goal is counted, the goal
ROWS = [
    ("cluster-put-40", "k/s", "at least", 400),
    ("cluster-put-100", "k/s", "at least", 400),
    ("cluster-put-local", "ns", "alone", 2),
    ("cluster-lag-p50", "ms", "absolute", 1),
    ("cluster-lag-p99", "ms", "absolute", 5),
    ("cluster-join", "s", "absolute", 2.5),
    ("cluster-repair", "ms", "absolute", 200),
    ("cluster-repair-total", "ms", None, None),
    ("cluster-repair-bytes", "%", "absolute", 2),
    ("cluster-notice-kill", "ms", None, None),
    ("cluster-takeover-kill", "ms", None, None),
    ("cluster-notice-freeze", "ms", None, None),
    ("cluster-takeover-freeze", "ms", None, None),
    ("cluster-lock-p50", "µs", None, None),
    ("cluster-lock-p99", "µs", None, None),
    ("cluster-memory", "MB", None, None),
]


def measure(program: pathlib.Path, entries: int, quick: bool, result) -> tuple[list[dict], list[float]]:
    """The rows, and the quantiles of the lag in ms, a thousand and one of them."""
    figures: dict[str, dict[str, list[float]]] = {"minikv": {}, "redis": {}}
    redis = shutil.which("redis-server") is not None
    for experiment, compared, few, many in EXPERIMENTS:
        stores = ("minikv", "redis") if compared and redis else ("minikv",)
        repetitions = few if quick else many
        for repetition in range(repetitions):
            for store in stores:
                print(
                    f"\rcluster {experiment}: {store} {repetition + 1}/{repetitions}        ",
                    end="", file=sys.stderr, flush=True,
                )
                command = [str(program), experiment, store, str(entries)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                for name, values in json.loads(done.stdout).items():
                    figures[store].setdefault(name, []).append(values if name == "lag" else values[0])
    ours, lag = figures["minikv"], figures["minikv"].pop("lag")
    rows = []
    for row, unit, against, goal in ROWS:
        peers = {"redis": figures["redis"][row]} if row in figures["redis"] else {}
        if against == "alone":
            peers = {"alone": ours["alone"]}
        rows.append(result(row, unit, ours[row], peers, against, goal))
    for name in ("overflows", "rate", "join-bytes", "repair-bytes"):
        print(f"\n{name}: {ours[name]}", end="", file=sys.stderr)
    return rows, [sum(each) / len(each) for each in zip(*lag)]


def plot_lag(lag: list[float], out: pathlib.Path) -> None:
    figure, axis = plotting.pyplot().subplots(figsize=(7, 3), constrained_layout=True)
    axis.plot(lag, [n / (len(lag) - 1) for n in range(len(lag))], color="#b5651d")
    for share in (0.5, 0.99):
        at = lag[round(share * (len(lag) - 1))]
        axis.axhline(share, color="#8899aa", linewidth=0.5)
        axis.annotate(f"p{share * 100:.0f}: {at:.2f} ms", (at, share), fontsize=8, va="top", xytext=(4, -2), textcoords="offset points")
    axis.set_xscale("log")
    axis.set_xlabel("lag in ms", fontsize=8)
    axis.set_title("share of 50,000 puts a second that two other members have within a time", fontsize=8, loc="left")
    axis.tick_params(labelsize=7)
    plotting.save(figure, out, "lag")


def sizes(libraries: dict[str, pathlib.Path], out: pathlib.Path, result) -> list[dict]:
    """What each language's library takes on disk, stripped."""
    rows = []
    for name, library in libraries.items():
        if not library.exists():
            print(f"skipped: {library.name} is not built")
            continue
        stripped = out / f"stripped-{library.name}"
        subprocess.run(["strip", "--strip-unneeded", "-o", stripped, library], check=True)
        rows.append(result(f"size-{name}", "MB", [stripped.stat().st_size / 1e6], {}, None, None))
        stripped.unlink()
    return rows
