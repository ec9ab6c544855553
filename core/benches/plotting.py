"""What all plots have in common: no screen, and a file of each kind."""

import pathlib


def pyplot():
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def save(figure, out: pathlib.Path, name: str) -> None:
    for ending in ("svg", "png"):
        figure.savefig(out / f"{name}.{ending}")
    pyplot().close(figure)
