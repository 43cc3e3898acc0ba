"""The figure of embed_claims: a panel a question, a dot with its interval an answer."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from launch.benches.style import INK, STYLE

PANELS = {  # of what was measured -> (title, unit)
    "E2Rank, retrieval": ("E2Rank: finding", "nDCG@10"),
    "E2Rank, reranking": ("E2Rank: the prompt's order", "nDCG@10"),
    "stages, retrieval": ("Stages: retrieval", "nDCG@10"),
    "stages, classification": ("Stages: classification", "hit@1"),
}
OURS, PLAIN = "#1d4f91", "#c2571a"


def draw(drawn, path):
    """drawn: panel -> {name: (mean, half-width)}, and "prefixes" -> {name: (.., .., untrained)}."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11.5, 6.4), layout="constrained", dpi=120)
        axes = figure.subplots(2, 3).flat
        for panel, (title, unit) in PANELS.items():
            _dots(next(axes), drawn[panel], title, unit)
        _prefixes(next(axes), drawn["prefixes"])
        if "media" in drawn:
            _dots(next(axes), drawn["media"], "One space of three", "share found")
        for rest in axes:
            rest.set_axis_off()
        figure.savefig(path)


def _dots(axes, found, title, unit):
    for place, (mean, half) in enumerate(reversed(found.values())):
        axes.errorbar(mean, place, xerr=half, fmt="o", color=OURS, ms=5, lw=1.6)
    axes.set_yticks(range(len(found)), list(reversed(found)))
    axes.set_ylim(-0.6, len(found) - 0.4)
    axes.set_xlabel(unit)
    axes.set_title(title, loc="left", color=INK)


def _prefixes(axes, found):
    places = np.arange(len(found))
    mean, half, plain = (list(x) for x in zip(*found.values(), strict=True))
    axes.errorbar(places - 0.1, mean, yerr=half, fmt="o", color=OURS, ms=5, label="trained for it")
    axes.plot(places + 0.1, plain, "s", color=PLAIN, ms=5, label="not")
    axes.set_xticks(places, [name.removesuffix(" numbers") for name in found])
    axes.set_xlabel("numbers that are kept, or the format")
    axes.set_ylabel("nDCG@10")
    axes.set_title("Few numbers, few bits", loc="left", color=INK)
    axes.legend(frameon=False, fontsize=8, loc="center left")
