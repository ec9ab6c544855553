"""Measures every row for every store, in turn and several times, and writes target/bench/."""

import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import cluster
import expiring
import growth
import plotting
import redis_server

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "target" / "bench"
QUICK = bool(os.environ.get("QUICK"))
ENTRIES = 100_000 if QUICK else 1_000_000
REPETITIONS = 2 if QUICK else 5
# Which rows: local, expiry, growth, cluster, size.
GROUPS = os.environ.get("ROWS", "local,expiry,growth,cluster,size").split(",")

RUST = ("dashmap", "papaya", "quick_cache") if QUICK else ("dashmap", "papaya", "quick_cache", "scc", "moka")
# These need a place of their own on disk, or a server on a socket there.
PLACED = ("redis", "ioredis", "diskcache", "lmdb")
PYTHON = ("dict", "cachetools") if QUICK else ("dict", "cachetools", "diskcache", "lmdb", "redis")
NODE = ("map", "lru-cache", "node-cache") if QUICK else ("map", "lru-cache", "node-cache", "keyv", "ioredis")
# From here on the slowest is so many times as slow as the fastest that a plot has to be logarithmic.
WIDE = 30
# row, unit, what runs it, peers, how the goal is counted, the goal
ROWS = [
    ("get-random", "ns", "rust", RUST, "fastest", 0.6),
    ("get-hot", "ns", "rust", RUST, "fastest", 1.0),
    ("get-hot-2", "ns", "rust", RUST, "fastest", 0.5),
    ("get-many", "ns", "rust", ("loop",), "loop", 0.8),
    ("put-new", "ns", "rust", RUST, "fastest", 1.0),
    ("put-over", "ns", "rust", RUST, "fastest", 1.0),
    ("stall-p999", "µs", "rust", RUST, "fastest", None),
    ("stall-max", "µs", "rust", RUST, "fastest", None),
    ("memory", "bytes", "rust", (*RUST, "redis"), "absolute", 136),
    ("c-get", "ns", "c", ("rust",), "rust", 1.2),
    ("c-view", "ns", "c", ("rust",), "rust", 1.2),
    ("py-item", "ns", "python", PYTHON, "dict", 5),
    ("py-get", "ns", "python", PYTHON, "dict", 8),
    ("py-put", "ns", "python", PYTHON, "cachetools", 1),
    ("node-get", "ns", "node", NODE, "node-cache", 0.5),
    ("node-put", "ns", "node", NODE, "node-cache", 1),
]


def measure(row: str, runner: str, store: str, size: int = ENTRIES) -> float:
    entries = str(size)
    rust = str(ROOT / "target/bench-build/release/minikv-bench")
    if runner == "c" and store == "rust":
        runner, row, store = "rust", "get-hot", "minikv"
    if store == "redis" and row == "memory":
        return redis_server.bytes_an_entry(size)
    if runner in ("python", "node"):
        entries = "10000"
    python = os.environ["MINIKV_PYTHON"] if store == "minikv" else sys.executable
    command = {
        "rust": [rust, row, store, entries],
        "c": [str(ROOT / "target/bench-build/rows-c"), row, store, entries],
        "python": [python, str(ROOT / "core/benches/rows.py"), row, store, entries],
        "node": ["node", str(ROOT / "core/benches/rows.mjs"), row, store, entries],
    }[runner]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        if store in PLACED:
            command.append(folder)
        if store in ("redis", "ioredis"):
            command[-1] = stack.enter_context(redis_server.run(folder)).socket_path
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    text = done.stdout.strip()
    return float(json.loads(text)["value"] if text.startswith("{") else text)


def summary(values: list[float]) -> dict[str, float]:
    p25, median, p75 = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return {"median": rounded(median), "p25": rounded(p25), "p75": rounded(p75)}


def rounded(value: float) -> float:
    return round(value, 1 if value >= 10 else 3)


def result(
    row: str, unit: str, ours: list[float], peers: dict[str, list[float]], against: str | None, goal: float | None
) -> dict:
    """One row of the table. `against`: whose time the goal is a multiple of, or what else it is; None: no goal."""
    ours_summary = summary(ours)
    peer_summaries = {store: summary(each) for store, each in peers.items()}
    median, ratio, met = ours_summary["median"], None, None
    if against in ("absolute", "at least"):
        ratio = median / goal
        met = ratio <= 1 if against == "absolute" else ratio >= 1
    elif against is not None:
        medians = {store: each["median"] for store, each in peer_summaries.items()}
        ratio = median / medians.get(against, min(medians.values()))
        met = None if goal is None else ratio <= goal
    elif peer_summaries:
        ratio = median / min(each["median"] for each in peer_summaries.values())
    return {
        "row": row, "unit": unit, "ours": ours_summary, "peers": peer_summaries, "against": against,
        "ratio": None if ratio is None else round(ratio, 2), "goal": goal, "met": met,
    }


def run_row(row: str, unit: str, runner: str, peers: tuple[str, ...], against: str, goal: float) -> dict:
    if redis_server.hindrance():
        peers = tuple(peer for peer in peers if peer not in ("redis", "ioredis"))
    stores = ("minikv", *peers)
    times: dict[str, list[float]] = {store: [] for store in stores}
    for repetition in range(REPETITIONS):
        for store in stores:
            print(f"\r{row}: {store} {repetition + 1}/{REPETITIONS}        ", end="", file=sys.stderr, flush=True)
            times[store].append(measure(row, runner, store))
    ours = times.pop("minikv")
    return result(row, unit, ours, times, against, goal)


def goal_text(row: dict) -> str:
    if row["goal"] is None:
        return "–"
    if row["against"] in ("absolute", "at least"):
        return f"{'≤' if row['against'] == 'absolute' else '≥'} {row['goal']} {row['unit']}"
    return f"≤ {row['goal']} × {row['against']}"


def table(rows: list[dict]) -> str:
    lines = ["| row | minikv | peers | ratio | goal | met |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        spread = f"{row['ours']['median']} {row['unit']} ({row['ours']['p25']}–{row['ours']['p75']})"
        peers = ", ".join(f"{name} {each['median']}" for name, each in row["peers"].items()) or "–"
        ratio = "–" if row["ratio"] is None else row["ratio"]
        met = {True: "yes", False: "no", None: "–"}[row["met"]]
        lines.append(f"| {row['row']} | {spread} | {peers} | {ratio} | {goal_text(row)} | {met} |")
    return "\n".join(lines) + "\n"


def plot(rows: list[dict]) -> None:
    rows = [row for row in rows if row["peers"]]
    if not rows:
        return
    figure, axes = plotting.pyplot().subplots(
        len(rows), 1, figsize=(7, 1.3 * len(rows)), constrained_layout=True, squeeze=False
    )
    for axis, row in zip(axes[:, 0], rows):
        names = ["minikv", *row["peers"]]
        medians = [row["ours"]["median"], *(each["median"] for each in row["peers"].values())]
        axis.barh(names, medians, color=["#b5651d", *["#8899aa"] * len(row["peers"])])
        # Otherwise a server's bar leaves nothing to be seen of the others.
        is_wide = max(medians) > WIDE * min(medians)
        if is_wide:
            axis.set_xscale("log")
        axis.set_title(f"{row['row']} ({row['unit']}{', logarithmic' if is_wide else ''})", fontsize=8, loc="left")
        axis.tick_params(labelsize=7)
        axis.invert_yaxis()
    plotting.save(figure, OUT, "bench")


def libraries() -> dict[str, pathlib.Path]:
    where = "import minikv._minikv as native; print(native.__file__)"
    python = subprocess.run([os.environ["MINIKV_PYTHON"], "-c", where], check=True, capture_output=True, text=True)
    release = ROOT / "target/release"
    return {
        "c-shared": release / "libminikv.so",
        "c-static": release / "libminikv.a",
        "python": pathlib.Path(python.stdout.strip()),
        "node": ROOT / "node/minikv.node",
    }


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    results: dict = {"entries": ENTRIES, "repetitions": REPETITIONS}
    rows: list[dict] = []
    if "local" in GROUPS:
        rows += [run_row(*row) for row in ROWS]
    if "expiry" in GROUPS:
        program = ROOT / "target/bench-build/release/minikv-bench"
        of_expiry, results["expiry_late_ms"] = expiring.measure(program, ENTRIES, 1 if QUICK else 3, result)
        rows += of_expiry
        expiring.plot(results["expiry_late_ms"], OUT)
    if "growth" in GROUPS:
        results["growth"] = growth.measure(lambda row, store, size: measure(row, "rust", store, size), QUICK)
        growth.plot(results["growth"], OUT)
    if "cluster" in GROUPS:
        program = ROOT / "target/release/minikv-cluster-bench"
        of_cluster, results["lag_ms"] = cluster.measure(program, ENTRIES, QUICK, result)
        rows += of_cluster
        cluster.plot_lag(results["lag_ms"], OUT)
    if "size" in GROUPS:
        rows += cluster.sizes(libraries(), OUT, result)
    print(file=sys.stderr)
    results["rows"] = rows
    (OUT / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    (OUT / "table.md").write_text(table(rows))
    plot(rows)
    print(table(rows))
    if redis_server.hindrance():
        print(f"skipped: {redis_server.hindrance()}")
    written = sorted(each.name for each in OUT.iterdir())
    print(f"written to {OUT.relative_to(ROOT)}: {', '.join(written)}")


if __name__ == "__main__":
    main()
