"""What every bench shares: its rows, their table and JSON, and the ceilings of the machine."""

import dataclasses
import json
import os
import pathlib
import statistics
import sys
import time
import types

import jax
import jax.numpy as jnp
import rich.console
import rich.table

NUMBERS = ("value", "peer value", "ratio", "floor", "% of floor")


@dataclasses.dataclass(frozen=True)
class Row:
    """One figure. floor: what the machine's ceilings allow, in the same unit. Absent = None."""

    case: str
    value: float
    unit: str  # a rate ends in "/s" and is better when larger; all else is better when smaller
    peer: str | None = None
    peer_value: float | None = None
    floor: float | None = None

    COLUMNS = ("value", "unit", "peer", "peer value", "ratio", "floor", "% of floor")

    @property
    def line(self):
        """What is printed when the row arrives."""
        peer = f", {self.peer} {_text(self.peer_value)} ({self.ratio:.2f} ×)" if self.peer else ""
        return f"{self.case}: {_text(self.value)} {self.unit}{peer}"

    @property
    def derived(self):
        """What is computed from the fields."""
        return {"ratio": self.ratio, "percent_of_floor": self.percent_of_floor}

    @property
    def ratio(self):
        """value / peer_value."""
        return None if self.peer_value is None else self.value / self.peer_value

    @property
    def percent_of_floor(self):
        """100 when nothing faster is possible, for rates as for times and bytes."""
        if self.floor is None:
            return None
        return 100 * (
            self.value / self.floor if self.unit.endswith("/s") else self.floor / self.value
        )


@dataclasses.dataclass(frozen=True)
class Finding:
    """A row of a bench that asks whether, not how fast. surprise: "" where all was as expected."""

    case: str
    expected: str
    seen: str
    counter: str
    surprise: str

    COLUMNS = ("expected", "seen", "counter", "surprise")
    derived = types.MappingProxyType({})

    @property
    def line(self):
        """What is printed when the row arrives."""
        return f"{self.case}: {self.seen}" + (f"; SURPRISE: {self.surprise}" * bool(self.surprise))


def announced(rows):
    """The list of an iterable of rows, each printed as it arrives: a peer's may take minutes."""
    seen = []
    for row in rows:
        seen.append(row)
        print(row.line, flush=True)
    return seen


def write_json(rows, path):
    """A list of objects, one a row; what does not apply is left out."""
    pathlib.Path(path).write_text(json.dumps([_present(row) for row in rows], indent=2) + "\n")


def show(title, rows):
    """Prints the table of a bench, and under it how busy the machine was."""
    table = rich.table.Table("case", title=title)
    names = rows[0].COLUMNS
    for name in names:
        table.add_column(name, justify="right" if name in NUMBERS else "left")
    for row in rows:
        fields = _present(row)
        table.add_row(row.case, *(_text(fields.get(_key(name))) for name in names))
    console = rich.console.Console(width=None if sys.stdout.isatty() else 140)
    console.print(table)
    load = " ".join(f"{x:.1f}" for x in os.getloadavg())
    console.print(f"load {load} on {os.cpu_count()} cores; {jax.devices()[0].device_kind}")


def timed(fn, repeats=5):
    """Median seconds of fn(), waiting for its arrays; one call before, uncounted, compiles it."""
    jax.block_until_ready(fn())
    return statistics.median(seconds(fn) for _ in range(repeats))


def alternate(ours, peer, repeats=3):
    """Median seconds of two functions that take turns, so that both see the same busy machine."""
    jax.block_until_ready((ours(), peer()))
    turns = [(seconds(ours), seconds(peer)) for _ in range(repeats)]
    return tuple(statistics.median(side) for side in zip(*turns, strict=True))


def matmul_flops(size=2048, dtype=jnp.float32):
    """Most floating-point operations a second of a large product: the compute ceiling."""
    x = jnp.ones((size, size), dtype)
    product = jax.jit(jnp.dot)
    return 2 * size**3 / _best(lambda: product(x, x))


def read_bandwidth(size=8192, dtype=jnp.float32):
    """Most bytes a second that a matrix-vector product reads: decoding reads weights, copies none.

    A copy into a new buffer would time the kernel handing out its pages, several times slower.
    """
    matrix, vector = jnp.ones((size, size), dtype), jnp.ones(size, dtype)
    product = jax.jit(jnp.dot)
    return matrix.nbytes / _best(lambda: product(matrix, vector))


def _best(fn, repeats=8):
    jax.block_until_ready(fn())
    return min(
        seconds(fn) for _ in range(repeats)
    )  # a ceiling is what the machine can do, not does


def seconds(fn):
    """Seconds of one call, waiting for its arrays."""
    start = time.perf_counter()
    jax.block_until_ready(fn())
    return time.perf_counter() - start


def _present(row):
    fields = dataclasses.asdict(row) | row.derived
    return {k: v for k, v in fields.items() if v is not None}


def _key(name):
    return name.replace("% of", "percent_of").replace(" ", "_")


def _text(value):
    if value is None:
        return "–"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
