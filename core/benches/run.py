"""Measures every row for every store, in turn and several times, and writes target/bench/."""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "target" / "bench"
QUICK = bool(os.environ.get("QUICK"))
ENTRIES = 100_000 if QUICK else 1_000_000
REPETITIONS = 3 if QUICK else 5

RUST = ("dashmap", "papaya", "quick_cache") if QUICK else ("dashmap", "papaya", "quick_cache", "scc", "moka")
# row, unit, what runs it, peers, how the goal is counted, the goal
ROWS = [
    ("get-random", "ns", "rust", RUST, "fastest", 0.6),
    ("get-hot", "ns", "rust", RUST, "fastest", 1.0),
    ("get-hot-2", "ns", "rust", RUST, "fastest", 0.5),
    ("put-new", "ns", "rust", RUST, "fastest", 1.0),
    ("put-over", "ns", "rust", RUST, "fastest", 1.0),
    ("memory", "bytes", "rust", RUST, "absolute", 136),
    ("expiry-p99", "ms", "rust", (), "absolute", 50),
    ("c-get", "ns", "c", ("rust",), "rust", 1.2),
    ("py-item", "ns", "python", ("dict", "cachetools"), "dict", 5),
    ("py-get", "ns", "python", ("dict", "cachetools"), "dict", 8),
    ("py-put", "ns", "python", ("dict", "cachetools"), "cachetools", 1),
    ("node-get", "ns", "node", ("map", "lru-cache", "node-cache"), "node-cache", 0.5),
    ("node-put", "ns", "node", ("map", "lru-cache", "node-cache"), "node-cache", 1),
]


def measure(row: str, runner: str, store: str) -> float:
    entries = str(ENTRIES)
    rust = str(ROOT / "target/bench-build/release/minikv-bench")
    if runner == "c" and store == "rust":
        runner, row, store = "rust", "get-hot", "minikv"
    if runner in ("python", "node"):
        entries = "10000"
    python = os.environ["MINIKV_PYTHON"] if store == "minikv" else sys.executable
    command = {
        "rust": [rust, row, store, entries],
        "c": [str(ROOT / "target/bench-build/rows-c"), row, store, entries],
        "python": [python, str(ROOT / "core/benches/rows.py"), row, store, entries],
        "node": ["node", str(ROOT / "core/benches/rows.mjs"), row, store, entries],
    }[runner]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    text = done.stdout.strip()
    return float(json.loads(text)["value"] if text.startswith("{") else text)


def summary(times: list[float]) -> dict[str, float]:
    p25, median, p75 = statistics.quantiles(times, n=4, method="inclusive")
    return {"median": round(median, 1), "p25": round(p25, 1), "p75": round(p75, 1)}


def run_row(row: str, unit: str, runner: str, peers: tuple[str, ...], against: str, goal: float) -> dict:
    stores = ("minikv", *peers)
    times: dict[str, list[float]] = {store: [] for store in stores}
    for repetition in range(REPETITIONS):
        for store in stores:
            print(f"\r{row}: {store} {repetition + 1}/{REPETITIONS}        ", end="", file=sys.stderr, flush=True)
            times[store].append(measure(row, runner, store))
    results = {store: summary(each) for store, each in times.items()}
    ours = results.pop("minikv")
    if against == "absolute":
        ratio = ours["median"] / goal
        met = ratio <= 1
    else:
        named = results[against]["median"] if against in results else min(each["median"] for each in results.values())
        ratio = ours["median"] / named
        met = ratio <= goal
    return {
        "row": row, "unit": unit, "ours": ours, "peers": results, "against": against,
        "ratio": round(ratio, 2), "goal": goal, "met": met,
    }


def table(rows: list[dict]) -> str:
    lines = ["| row | minikv | peers | ratio | goal | met |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        spread = f"{row['ours']['median']} {row['unit']} ({row['ours']['p25']}–{row['ours']['p75']})"
        peers = ", ".join(f"{name} {each['median']}" for name, each in row["peers"].items()) or "–"
        goal = f"≤ {row['goal']} {row['unit']}" if row["against"] == "absolute" else f"≤ {row['goal']} × {row['against']}"
        lines.append(f"| {row['row']} | {spread} | {peers} | {row['ratio']} | {goal} | {'yes' if row['met'] else 'no'} |")
    return "\n".join(lines) + "\n"


def plot(rows: list[dict]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in rows if row["peers"]]
    figure, axes = pyplot.subplots(len(rows), 1, figsize=(7, 1.3 * len(rows)), constrained_layout=True)
    for axis, row in zip(axes, rows):
        names = ["minikv", *row["peers"]]
        medians = [row["ours"]["median"], *(each["median"] for each in row["peers"].values())]
        axis.barh(names, medians, color=["#b5651d", *["#8899aa"] * len(row["peers"])])
        axis.set_title(f"{row['row']} ({row['unit']})", fontsize=8, loc="left")
        axis.tick_params(labelsize=7)
        axis.invert_yaxis()
    for ending in ("svg", "png"):
        figure.savefig(OUT / f"bench.{ending}")


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    rows = [run_row(*row) for row in ROWS]
    print(file=sys.stderr)
    results = {"entries": ENTRIES, "repetitions": REPETITIONS, "rows": rows}
    (OUT / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    (OUT / "table.md").write_text(table(rows))
    plot(rows)
    print(table(rows))
    for server in ("redis-server", "valkey-server"):
        if not shutil.which(server):
            print(f"skipped: {server} is not installed")
    print(f"written: {OUT.relative_to(ROOT)}/results.json, table.md, bench.svg, bench.png")


main()
