"""The page of the long-context bench: memory and time of an update against the length of a row."""

import matplotlib
from matplotlib.figure import Figure

from launch.benches.style import INK, STYLE

OURS, WHOLE = "#1d4f91", "#c2571a"


def draw(found, path):
    """Writes the figure of (length, MiB, MiB with whole scores or None, seconds) to PNG or PDF."""
    lengths, ours, whole, seconds = zip(*found, strict=True)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 4), layout="constrained", dpi=130)
        left, right = figure.subplots(1, 2)
        left.plot(lengths, ours, "o-", color=OURS, label="scores recomputed in blocks")
        known = [(n, m) for n, m in zip(lengths, whole, strict=True) if m is not None]
        left.plot(*zip(*known, strict=True), "o--", color=WHOLE, label="a layer's scores kept")
        left.plot(lengths, [ours[-1] * n / lengths[-1] for n in lengths], ":", color=INK, lw=1)
        left.annotate(
            "in proportion",
            (lengths[2], ours[-1] * lengths[2] / lengths[-1]),
            (4, -12),
            textcoords="offset points",
            color=INK,
        )
        left.set_title("memory beside the arguments, MiB", loc="left", color=INK)
        left.legend(frameon=False)
        right.plot(lengths, seconds, "o-", color=OURS)
        right.set_title("time of a gradient, s", loc="left", color=INK)
        for axes in (left, right):
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_xticks(lengths, [f"{n // 1024}K" for n in lengths])
            axes.set_xlabel("tokens of the row")
        figure.savefig(path)
