"""What all plots have in common: no screen, and a file of each kind."""

import pathlib


def pyplot():
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def save(figure, out: pathlib.Path, name: str) -> None:
    for ending in ("svg", "png"):
        # Without the time of day, so that the same figures make the same file.
        metadata = {"Date": None} if ending == "svg" else None
        figure.savefig(out / f"{name}.{ending}", metadata=metadata)
    pyplot().close(figure)
