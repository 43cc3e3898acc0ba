"""The page of the scaling bench: a row a program, memory on the left, bytes sent on the right."""

import matplotlib
from matplotlib.figure import Figure

from launch.benches import compiled
from launch.benches.style import INK, STYLE

COLOURS = "#1d4f91", "#c2571a", "#2e8b6f", "#8f5fb0", "#8a6d1d"
MEMORY = {"arguments": "#1d4f91", "beside them": "#8fb3dd"}
SENT = dict(zip(compiled.KINDS, COLOURS, strict=True))


def draw(found, path):
    """Writes the figure of {(program, devices): figures of `scaling.measure`} to a PNG or PDF."""
    programs, devices = (list(dict.fromkeys(key)) for key in zip(*found, strict=True))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 3.4 * len(programs)), layout="constrained", dpi=130)
        grid = figure.subplots(len(programs), 2, squeeze=False)
        for name, (left, right) in zip(programs, grid, strict=True):
            figures = [found[name, n] for n in devices]
            _bars(left, devices, figures, MEMORY)
            left.set_title(f"{name}: memory a device, GiB", loc="left", color=INK)
            _bars(right, devices, figures, SENT)
            right.set_title(f"{name}: sent by a device, GiB", loc="left", color=INK)
        for axes in grid[-1]:
            axes.set_xlabel("devices")
        figure.savefig(path)


def _bars(axes, devices, figures, colours):
    bottom = [0.0] * len(devices)
    for what, colour in colours.items():
        heights = [one[what][0] for one in figures]
        if any(heights):
            axes.bar([str(n) for n in devices], heights, 0.55, bottom, label=what, color=colour)
        bottom = [b + h for b, h in zip(bottom, heights, strict=True)]
    for x, total in enumerate(bottom):
        axes.annotate(f"{total:,.3g}", (x, total), (0, 3), textcoords="offset points", ha="center")
    axes.margins(y=0.35)  # room for the legend
    axes.grid(axis="x", visible=False)
    axes.legend(frameon=False, labelcolor=INK, loc="upper left", ncols=len(colours))
