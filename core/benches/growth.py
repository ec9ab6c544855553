"""How reads and memory grow with the table: the same measures at sizes from a thousand entries to ten million."""

import pathlib
import sys

import plotting

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
QUICK_SIZES = (1_000, 10_000, 100_000)
STORES = ("minikv", "papaya", "dashmap")
# Small tables are filled too quickly to be seen in the pages of a process.
SMALLEST_FOR_MEMORY = 100_000


def measure(of_store, quick: bool) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """By row and store: size and result. `of_store(row, store, entries)` measures once."""
    found: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for entries in QUICK_SIZES if quick else SIZES:
        for row in ("get-random", "memory"):
            if row == "memory" and entries < SMALLEST_FOR_MEMORY:
                continue
            for store in STORES:
                print(f"\rgrowth {row}: {store} {entries}        ", end="", file=sys.stderr, flush=True)
                value = of_store(row, store, entries)
                found.setdefault(row, {}).setdefault(store, []).append((entries, value))
    return found


def plot(found: dict[str, dict[str, list[tuple[int, float]]]], out: pathlib.Path) -> None:
    units = {"get-random": "ns a random get", "memory": "bytes an entry"}
    figure, axes = plotting.pyplot().subplots(1, len(units), figsize=(9, 3), constrained_layout=True)
    for axis, (row, title) in zip(axes, units.items()):
        for store, points in found.get(row, {}).items():
            color = {"minikv": "#b5651d", "papaya": "#446688", "dashmap": "#8899aa"}[store]
            axis.plot(*zip(*points), marker="o", markersize=3, label=store, color=color)
        axis.set_xscale("log")
        axis.set_ylim(bottom=0)
        axis.set_xlabel("entries", fontsize=8)
        axis.set_title(title, fontsize=8, loc="left")
        axis.tick_params(labelsize=7)
    axes[0].legend(fontsize=7)
    plotting.save(figure, out, "growth")
