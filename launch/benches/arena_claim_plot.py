"""The figure of arena_claim: true utility on held-out tasks against updates, a line a method."""

import matplotlib
from matplotlib.figure import Figure

from launch.benches.style import INK, STYLE

LINES = {
    "round_robin": ("round robin", "#1d4f91", "-"),
    "single_elimination": ("seeded single elimination", "#c2571a", "-"),
    "double_elimination": ("double elimination", "#8a6d1d", "-"),
    "swiss": ("Swiss", "#2e8b6f", "-"),
    "anchor": ("anchor", "#8f5fb0", "-"),
    "pointwise": ("pointwise GRPO", "#111827", "--"),
    "utility itself": ("GRPO on the utility itself", "#9ca3af", ":"),
}


def draw(found, path):
    """found: method -> (updates, mean, half-width of the interval). Writes a PNG or PDF."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 5.0), layout="constrained", dpi=130)
        axes = figure.subplots()
        for name, (label, colour, style) in LINES.items():
            updates, mean, half = found[name]
            axes.fill_between(updates, mean - half, mean + half, color=colour, alpha=0.1, lw=0)
            wide = 2.4 if name == "single_elimination" else 1.4
            axes.plot(updates, mean, style, color=colour, lw=wide, label=label)
        axes.set_xlabel("updates")
        axes.set_ylabel("true utility of greedy held-out episodes")
        axes.set_title("One start, one noisy judge, seven ways of asking it", loc="left", color=INK)
        axes.legend(frameon=False, fontsize=8)
        figure.savefig(path)
