"""Groups a second that each topology ranks, against plain Python in the same run.

    python -m launch.bench tournaments

4,096 groups of N over a tensor of random scores, shuffles included on both sides. The peer gets
nested lists, made outside the clock, and a part of the groups: its time goes by the group. Turns
alternate and take about as long: many calls of ours, as the first few would time threads that wake.
"""

import functools

import jax
import numpy as np

from jaxrl.ops import tournament
from launch.benches import peers_python_tournaments, tables

GROUPS = 4_096
TURNS = {  # N: calls of ours, groups of the peer's
    4: (64, 4_096),
    8: (64, 2_048),
    16: (64, 1_024),
    32: (16, 256),
    64: (4, 64),
}


def run(peer):
    """Yields the rows of the bench, one a topology and size. The only peer is plain Python."""
    if peer not in (None, "python"):
        raise ValueError(f"--peer={peer}: tournaments has one peer, python; leave --peer out")
    for n in TURNS:
        scores = np.random.default_rng(n).random((GROUPS, n, n), np.float32)
        for topology in peers_python_tournaments.TOPOLOGIES:
            yield _row(topology, scores)


def _row(topology, scores):
    n = scores.shape[-1]
    calls, groups = TURNS[n]
    part = scores[:groups].tolist()
    theirs = peers_python_tournaments.TOPOLOGIES[topology]
    ranks = jax.jit(functools.partial(_ranks, topology))
    on_device, key = jax.device_put(scores), jax.random.key(0)
    ours, python = tables.alternate(
        lambda: [ranks(on_device, key) for _ in range(calls)],
        lambda: [theirs(group) for group in part],
        repeats=25,
    )
    case = f"{topology}, {GROUPS:,} groups of {n}"
    return tables.Row(case, calls * GROUPS / ours, "groups/s", "python", len(part) / python)


def _ranks(topology, scores, key):
    return tournament.rank(topology, scores, key=key)[0]
