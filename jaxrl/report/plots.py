"""The curves of a run: each as SVG text for the page, and one PNG for a README.

The smoothed line is a Gaussian kernel mean over updates; its band is that mean's 95 % interval. SVG
colours are CSS variables of the page, so that one drawing serves light and dark.
"""

import io
import itertools
import re
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from jaxrl.report import rankings
from jaxrl.report.panels import BLUE, ENDINGS, GRID, INK, LINES, ORANGE, VARIABLES
from jaxrl.report.samples import SAID, measured
from jaxrl.training.metrics import read_rows

Z = 1.96  # 95 %
BINS = 400  # points a curve draws at most; longer runs are averaged into as many bins
STYLE = {
    "axes.edgecolor": GRID,
    "axes.axisbelow": True,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "font.size": 8.5,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "svg.fonttype": "none",
}


def values(rows, name):
    """Column `name` of metrics.jsonl as [steps] f64; NaN where the row lacks it or holds null."""
    return np.array([np.nan if row.get(name) is None else row[name] for row in rows], float)


def standard_errors(rows, name):
    """[steps]: of the update's own mean where its spread was recorded (the reward), else NaN.

    The number of rollouts is tokens/sampled over length/mean, by the definition of both.
    """
    if name != "reward/mean":
        return np.full(len(rows), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        count = values(rows, "tokens/sampled") / values(rows, "length/mean")
        count = count - np.nan_to_num(values(rows, "reward/unscorable"))
        return np.where(count >= 1, values(rows, "reward/std") / np.sqrt(count), np.nan)


def smooth(y, se):
    """(mean, half width of its 95 % interval): a Gaussian kernel over the update index.

        m_i = Σ_j w_ij y_j,   h_i = 1.96 √(Σ_j w_ij² s_j²),   Σ_j w_ij = 1

    s_j is the update's own standard error, or, where unknown, the local scatter about the line.
    Our choice of width: 5 % of the run, at least 1 update.

    y, se: [n], y finite.  returns: [n] each.
    """
    i = np.arange(len(y))
    w = np.exp(-0.5 * ((i[:, None] - i) / max(1.0, 0.05 * len(y))) ** 2)
    w /= w.sum(axis=1, keepdims=True)
    mean = w @ y
    scatter = np.sqrt(w @ (y - mean) ** 2)
    s = np.where(np.isnan(se), scatter, se)
    return mean, Z * np.sqrt(w**2 @ s**2)


def curve_svg(rows, panel):
    """The panel as SVG text, or "" where the run recorded none of its series."""
    found = [(name, label) for name, label in panel.series if np.isfinite(values(rows, name)).any()]
    if not found:
        return ""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        _draw_series(axes, rows, found, panel.log)
        return _svg(figure, panel.title)


def change(rows, series):
    """The smoothed mean of the first recorded series, as text "first → last"; "" if none."""
    for name, _ in series:
        _, y, se = _binned(values(rows, "step"), values(rows, name), standard_errors(rows, name))
        if len(y) > 1:
            mean = smooth(y, se)[0]
            return f"{_three_digits(mean[0])} → {_three_digits(mean[-1])}"
    return ""


def endings_svg(rows):
    """How episodes ended, smoothed shares stacked to 1, as SVG text; "" where none was recorded."""
    rows = [row for row in rows if row.get("ending/answer") is not None]
    if not rows:
        return ""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        _draw_endings(axes, rows)
        figure.legend(loc="outside lower center", ncols=3, frameon=False, handlelength=1)
        return _svg(figure, "Endings")


def held_out_svg(evals, measure, number):
    """A held-out set's accuracy or utility by update, each point with its interval, as SVG text.

    number tells this drawing from the page's others: ids inside SVG are global to the page.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        _draw_held_out(axes, evals, measure)
        return _svg(figure, f"Held-out {SAID[measure]} {number}")


def rankings_svg(sets, metric, number):
    """A ranking metric by update, a line a held-out set, as SVG text. sets: {name: evaluations}."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        for (name, evals), colour in zip(sets.items(), itertools.cycle(LINES)):
            x, y = values(evals, "step"), values(evals, metric)
            axes.plot(x, y, "o-", color=colour, lw=1.8, markersize=4, label=rankings.short(name))
        axes.margins(y=0.15)
        _mark_updates(axes)
        if len(sets) > 1:
            figure.legend(loc="outside lower center", ncols=2, frameon=False, handlelength=1)
        return _svg(figure, f"Held-out {rankings.METRICS[metric]} {number}")


def curve_png(run_dir, path):
    """Writes the run's reward and its held-out set as one PNG.  returns: its path."""
    rows, evals = (read_rows(Path(run_dir) / name)[0] for name in ("metrics.jsonl", "eval.jsonl"))
    if not np.isfinite(values(rows, "reward/mean")).any():
        raise ValueError(
            f"run {str(run_dir)!r} has no reward/mean in metrics.jsonl: train it first"
        )
    evals = [row for row in evals if row["name"] == evals[0]["name"] and measured(row)]
    reward, title = "reward/mean", "Reward while training"
    if np.isfinite(
        values(rows, "reward/utility")
    ).any():  # a judge's reward has the same mean always
        reward, title = "reward/utility", "Utility while training"
    with matplotlib.rc_context(STYLE | {"axes.titlelocation": "left", "axes.titlesize": 10}):
        figure = Figure(figsize=(8.4 if evals else 4.6, 2.9), layout="constrained", dpi=200)
        axes = figure.subplots(1, 1 + bool(evals), squeeze=False)[0]
        _draw_series(axes[0], rows, [(reward, "mean")], log=False)
        axes[0].set_title(title, color=INK)
        if evals:
            measure = measured(evals[0])
            _draw_held_out(axes[1], evals, measure)
            title = f"{SAID[measure].capitalize()} on {evals[0]['n']} held-out tasks"
            axes[1].set_title(title, color=INK)
        figure.savefig(path)
    return Path(path)


def _three_digits(x):
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:#.3g}"


def _axes():
    figure = Figure(figsize=(4.2, 2.2), layout="constrained")
    return figure, figure.subplots()


def _draw_series(axes, rows, found, log):
    steps, ends = values(rows, "step"), []
    if log and _spans_scales(np.concatenate([values(rows, name) for name, _ in found])):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=8))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    for (name, label), colour in zip(found, (BLUE, ORANGE), strict=False):
        x, y, se = _binned(steps, values(rows, name), standard_errors(rows, name))
        many = len(x) > 2
        axes.plot(
            x, y, "o", color=colour, markersize=2.2 if many else 5, alpha=0.4 if many else 1, mew=0
        )
        if many:
            mean, half = smooth(y, se)
            low = np.maximum(mean - half, y.min()) if axes.get_yscale() == "log" else mean - half
            axes.fill_between(x, low, mean + half, color=colour, alpha=0.18, lw=0)
            axes.plot(x, mean, color=colour, lw=1.8, solid_capstyle="round")
            y = mean
        ends.append((y[-1], label, colour))
    _mark_updates(axes)
    if len(ends) > 1:
        _label_ends(axes, ends)


def _draw_endings(axes, rows):
    steps, unknown, found = values(rows, "step"), np.full(len(rows), np.nan), []
    for word, colour in ENDINGS:
        share = values(rows, f"ending/{word}")
        if np.nansum(share):
            x, y, se = _binned(steps, share, unknown)
            found.append((smooth(y, se)[0], word, colour))
    if len(x) == 1:  # an area has two ends
        x, found = x + [-0.5, 0.5], [(np.repeat(y, 2), *named) for y, *named in found]
    shares, words, colours = zip(*found, strict=True)
    axes.stackplot(x, *shares, labels=words, colors=colours, lw=0)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    _mark_updates(axes)
    axes.margins(x=0)


def _draw_held_out(axes, evals, measure):
    x = [row["step"] for row in evals]
    y, low, high = (values(evals, key) for key in (measure, "low", "high"))
    axes.plot(x, y, color=BLUE, lw=1.8, solid_capstyle="round")
    axes.errorbar(x, y, (y - low, high - y), fmt="o", color=BLUE, markersize=5, lw=1.4, capsize=0)
    for at in sorted({0, len(x) - 1}):
        rising = 1 if y[-1] >= y[0] else -1  # the label keeps clear of the line
        offset, align = ((7, -9 * rising), "left") if at == 0 else ((-7, 9 * rising), "right")
        axes.annotate(
            f"{y[at]:.1%}" if measure == "accuracy" else _three_digits(y[at]),
            (x[at], y[at]),
            offset,
            textcoords="offset points",
            ha=align,
            va="center",
        )
    if measure == "accuracy":
        axes.set_ylim(0, 1.08)  # room for a label at 100 %
        axes.set_yticks(np.linspace(0, 1, 6))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    else:
        bottom, top = min(0, 1.12 * low.min()), max(0, 1.12 * high.max())
        axes.set_ylim(bottom, top if top > bottom else 1)
    _mark_updates(axes)


def _spans_scales(y):
    """True where a linear axis would hide the smaller values; a zero has no logarithm."""
    return np.nanmin(y) > 0 and np.nanmax(y) > 5 * np.nanmin(y)


def _mark_updates(axes):
    axes.set_xlabel("update")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 5, 10]))
    axes.margins(x=0.02)
    if np.ptp(axes.dataLim.intervalx) < 1:  # one update: no room for two whole numbers
        axes.set_xlim(axes.dataLim.x0 - 1, axes.dataLim.x0 + 1)


def _binned(x, y, se):
    """At most BINS points: means over equal runs of updates; NaN points left out."""
    keep = np.isfinite(y)
    x, y, se = x[keep], y[keep], se[keep]
    if len(x) <= BINS:
        return x, y, se
    cuts = np.array_split(np.arange(len(x)), BINS)
    mean = lambda a: np.array([a[cut].mean() for cut in cuts])
    return mean(x), mean(y), np.array([np.sqrt((se[cut] ** 2).sum()) / len(cut) for cut in cuts])


def _label_ends(axes, ends):
    """Names each line at its right end, in its colour, moved apart where two would overlap."""
    axes.autoscale_view()  # lazy otherwise, and the places below would be of the empty axes
    to_axes = axes.transData + axes.transAxes.inverted()
    last = -1.0
    for y, label, colour in sorted(ends):
        at = max(to_axes.transform((0, y))[1], last + 0.11)
        last = at
        axes.annotate(
            label, (1, at), (4, 0), "axes fraction", "offset points", color=colour, va="center"
        )


def _svg(figure, title):
    """SVG that stands inside HTML: no prolog or fixed size, ids of its own, colours by variable."""
    name = re.sub(r"\W+", "-", title.lower())
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    head, body = text[text.index("<svg") :].split(">", 1)
    head = re.sub(r' (xmlns(:\w+)?|width|height|version)="[^"]*"', "", head)
    text = re.sub(r"<metadata>.*?</metadata>", "", f"{head}>{body}", flags=re.S)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r"(font-family: |font: [\w. ]*px )[^;\"]+", r"\1var(--sans)", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1).strip()
