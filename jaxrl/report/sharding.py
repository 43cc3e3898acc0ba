"""Where parameters lie: which device holds which part, and how many bytes each has to hold."""

import math

import jax
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from jaxrl.models.spec import is_spec
from jaxrl.parallel import rules
from jaxrl.report.panels import INK
from jaxrl.report.plots import STYLE

COLOURS = matplotlib.colormaps["Pastel1"].colors + matplotlib.colormaps["Set2"].colors


def pieces(shape, sharding):
    """{((start, stop) of each axis): devices that hold it, ascending ids} of an array."""
    found = {}
    for device, index in sharding.devices_indices_map(tuple(shape)).items():
        box = tuple(part.indices(size)[:2] for part, size in zip(index, shape, strict=True))
        found.setdefault(box, []).append(device.id)
    return {box: sorted(ids) for box, ids in found.items()}


def bytes_per_device(specs, mesh, table, itemsize):
    """Of a tree of Spec split by `table`; every device holds as much.  itemsize: bytes a number."""
    place = lambda s: rules.shardings(s, mesh, table).shard_shape(s.shape)
    return itemsize * sum(math.prod(place(s)) for s in jax.tree.leaves(specs, is_leaf=is_spec))


def draw(specs, mesh, tables):
    """A Figure: a row for each Spec of the dict `specs`, a column for each of `tables`.

    tables: {title: rules}. A parameter is drawn as its two axes that are split, or its last ones.
    The devices that hold a part are written in it; its colour is that of the first of them.
    """
    with matplotlib.rc_context(STYLE | {"axes.grid": False}):
        size = (1.2 + 2.6 * len(tables), 0.4 + 1.15 * len(specs))
        figure = Figure(figsize=size, layout="constrained", dpi=110)
        grid = figure.subplots(len(specs), len(tables), squeeze=False)
        for row, (name, s) in zip(grid, specs.items(), strict=True):
            shown = _shown(s, mesh, tables.values())
            for axes, (title, table) in zip(row, tables.items(), strict=True):
                _draw_one(axes, s, shown, mesh, table)
                if axes in grid[0]:
                    axes.set_title(title, color=INK, fontsize=10)
            text = f"{name}\n{' × '.join(map(str, s.shape))}"
            row[0].annotate(
                text, (-0.2, 0.5), xycoords="axes fraction", ha="right", va="center", color="black"
            )
    return figure


def _shown(s, mesh, tables):
    """The numbers of at most two axes, in order: those that are split, then the last ones."""
    split = lambda axis: any(_split(axis, mesh, table) for table in tables)
    order = sorted(range(len(s.axes)), key=lambda i: (not split(s.axes[i]), -i))
    return sorted(order[:2])


def _draw_one(axes, s, shown, mesh, table):
    found = pieces(s.shape, rules.shardings(s, mesh, table))
    parts = sorted(found.items(), key=lambda part: part[1])
    for box, devices in parts:
        (y, y_end), (x, x_end) = ([(0, 1)] + [_share(box, s, i) for i in shown])[-2:]
        colour = COLOURS[devices[0] % len(COLOURS)]
        axes.add_patch(
            matplotlib.patches.Rectangle((x, y), x_end - x, y_end - y, fc=colour, ec="white", lw=2)
        )
        text = " ".join(map(str, devices))
        axes.text((x + x_end) / 2, (y + y_end) / 2, text, ha="center", va="center", color="black")
    labels = ([""] + [_label(s.axes[i], mesh, table) for i in shown])[-2:]
    axes.set(xlim=(0, 1), ylim=(1, 0), xticks=[], yticks=[], ylabel=labels[0], xlabel=labels[1])


def _share(box, s, i):
    return tuple(np.array(box[i]) / s.shape[i])


def _label(axis, mesh, table):
    place = _split(axis, mesh, table)
    return f"{axis} → {', '.join(place)}" if place else axis


def _split(axis, mesh, table):
    """The mesh axes that split an axis here."""
    return [name for name in rules.names(table[axis]) if mesh.shape[name] > 1]
