"""Everyone meets everyone: N(N − 1)/2 matches in one round."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
from jax import Array

from jaxrl.ops.tournaments import places


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Table:
    """Points of each player: 2 for a win, `tie` for a tie; the win rate times 2(N − 1)."""

    points: Array  # [N, ...] f32
    void: Array  # [...] bool: a match had no score
    played: bool = dataclasses.field(metadata={"static": True})
    tie: int = dataclasses.field(metadata={"static": True})


def init(n, key=None, batch=(), *, tie=1):
    """No match played. Nothing here is random: the key is idle."""
    places.check_size(n)
    return Table(jnp.zeros((n, *batch)), jnp.zeros(batch, bool), n == 1, tie)


as_printed = functools.partial(init, tie=0)  # the paper counts wins alone, its code half a tie


def pairs(state):
    """The round's matches [M, 2, ...] int32: all i < j."""
    n, *batch = state.points.shape
    both = _all(0 if state.played else n)
    return jnp.broadcast_to(both.reshape(both.shape + (1,) * len(batch)), (*both.shape, *batch))


def record(state, scores):
    """Takes what both sides of each match got, [M, 2, ...]."""
    scores = places.check_scores(pairs(state), scores)
    n = len(state.points)
    other = scores[:, ::-1]
    won = 2.0 * (scores > other) + state.tie * (scores == other)
    mine = (_all(n) == jnp.arange(n)[:, None, None]).astype(jnp.float32)  # [N, M, 2]
    points = jnp.tensordot(mine, won, 2)  # whole numbers below 2N: exact at any precision
    return dataclasses.replace(state, points=points, void=places.unscorable(scores), played=True)


def _all(n):
    return jnp.array(list(itertools.combinations(range(n), 2)), jnp.int32).reshape(-1, 2)


def rank(state):
    """Competition ranks [N, ...] int32 by win rate."""
    return places.voided(places.shared(state.points), state.void)
