"""The page of the judge-noise study: a column a noise model, a row a metric, one line a scheme."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from launch.benches.style import INK, STYLE

LINES = {  # scheme -> label, colour, line style; what one sees first is the adopted topology
    "round_robin": ("round-robin", "#1d4f91", "-"),
    "single_elimination": ("seeded single elim.", "#c2571a", "-"),
    "double_elimination": ("double elim.", "#8a6d1d", "-"),
    "swiss": ("Swiss", "#2e8b6f", "-"),
    "anchor": ("anchor", "#8f5fb0", "-"),
    "pointwise": ("pointwise", "#111827", "--"),
    "pointwise, 60 calls": ("pointwise", "#6b7280", "--"),
    "pointwise, 240 calls": ("pointwise", "#9ca3af", "--"),
}
ROWS = {
    "cosine": "cosine of the advantages\nwith the true ones",
    "kendall": "Kendall τ",
    "regret": "regret of the best-ranked\n(σ_group)",
}
TITLES = {
    "independent": "Every score errs on its own",
    "shared": "Half of the error is the call's",
    "coarse": "Independent, and whole units only",
}


def draw(table, path):
    """Writes the figure of the rows of `judge_noise`, each a dict, to a PNG or PDF."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12.5, 9.2), layout="constrained", dpi=130)
        grid = figure.subplots(len(ROWS), len(TITLES), sharex=True, sharey="row")
        for (metric, name), axes_row in zip(ROWS.items(), grid, strict=True):
            for model, axes in zip(TITLES, axes_row, strict=True):
                _panel(axes, [row for row in table if row["model"] == model], metric)
            axes_row[0].set_ylabel(name)
        for axes, title in zip(grid[0], TITLES.values(), strict=True):
            axes.set_title(title, loc="left", color=INK)
        for axes in grid[-1]:
            axes.set_xlabel("judge noise, σ_noise / σ_group")
        figure.suptitle(
            "Groups of 16. Solid: tournaments. Dashed: pointwise scores, averaged. In brackets: "
            "judge calls a group. Bands: 95 % over seeds.",
            x=0.01,
            ha="left",
            fontsize=10,
        )
        figure.savefig(path)


def _panel(axes, rows, metric):
    ends = []
    for scheme, (label, colour, style) in LINES.items():
        mine = [row for row in rows if row["scheme"] == scheme]
        column = lambda name: np.array([row[name] for row in mine])
        x = column("noise")
        axes.fill_between(
            x, column(f"{metric}_low"), column(f"{metric}_high"), color=colour, alpha=0.2, lw=0
        )
        wide = 2.4 if scheme == "single_elimination" else 1.4
        axes.plot(x, column(metric), style, color=colour, lw=wide)
        ends.append((column(metric)[-1], f"{label} ({mine[0]['calls']})", colour))
    axes.set_xlim(0, x[-1])
    axes.set_ylim(bottom=0)
    _label(axes, sorted(ends))


def _label(axes, ends):
    """Names at the right end of the lines, in their colours, kept apart."""
    low, high = axes.get_ylim()
    at = np.array([(y - low) / (high - low) for y, _, _ in ends])
    gap = 0.062
    placed = at.copy()
    for k in range(1, len(placed)):
        placed[k] = max(placed[k], placed[k - 1] + gap)
    placed -= max(0, placed[-1] - 1)  # the top one stays inside
    placed = np.maximum(placed, np.arange(len(placed)) * gap)
    placed -= min(placed[0], max(0, (placed - at).mean()))
    for (y, label, colour), where in zip(ends, placed, strict=True):
        axes.annotate(
            label,
            (1.05, where),
            xycoords="axes fraction",
            color=colour,
            va="center",
            fontsize=8,
            annotation_clip=False,
        )
        axes.annotate(
            "",
            (1.0, (y - low) / (high - low)),
            (1.045, where),
            xycoords="axes fraction",
            textcoords="axes fraction",
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.6},
            annotation_clip=False,
        )
