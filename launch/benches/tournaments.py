"""Groups a second that each topology ranks, against plain Python in the same run.

    python -m launch.bench tournaments

4,096 groups of N over a tensor of random scores, shuffles included on both sides. Ours and the
peer's turns alternate and take about as long: one of ours is 64 calls, as the first few would time
threads that wake up. The peer gets nested lists, made outside the clock, and a part of the groups:
its time goes by the group.
"""

import functools

import jax
import numpy as np

from jaxrl.ops import tournament
from launch.benches import peers_python_tournaments, tables

GROUPS = 4_096
SIZES = (4, 8, 16, 32, 64)
CALLS = 64
PEER_GROUPS = {4: 4_096, 8: 2_048, 16: 1_024, 32: 256, 64: 64}


def run(peer):
    """Yields the rows of the bench, one a topology and size. The only peer is plain Python."""
    if peer not in (None, "python"):
        raise ValueError(f"--peer={peer}: tournaments has one peer, python; leave --peer out")
    for n in SIZES:
        scores = np.random.default_rng(n).random((GROUPS, n, n), np.float32)
        for topology in peers_python_tournaments.TOPOLOGIES:
            yield _row(topology, scores)


def _row(topology, scores):
    n = scores.shape[-1]
    part = scores[: PEER_GROUPS[n]].tolist()
    theirs = peers_python_tournaments.TOPOLOGIES[topology]
    ranks = jax.jit(functools.partial(_ranks, topology))
    on_device, key = jax.device_put(scores), jax.random.key(0)
    ours, python = tables.alternate(
        lambda: [ranks(on_device, key) for _ in range(CALLS)],
        lambda: [theirs(group) for group in part],
        repeats=9,
    )
    case = f"{topology}, {GROUPS:,} groups of {n}"
    return tables.Row(case, CALLS * GROUPS / ours, "groups/s", "python", len(part) / python)


def _ranks(topology, scores, key):
    return tournament.rank(topology, scores, key=key)[0]
