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
    """What everyone got against everyone."""

    scores: Array  # [..., N, N] f32; the diagonal is never read
    played: bool = dataclasses.field(metadata={"static": True})
    tie: int = dataclasses.field(metadata={"static": True})  # points for a tie; a win has 2


def init(n, key=None, batch=(), *, tie=1):
    """No match played. Nothing here is random: the key is idle."""
    places.check_size(n)
    return Table(jnp.zeros((*batch, n, n)), n == 1, tie)


as_printed = functools.partial(init, tie=0)  # the paper counts wins alone, its code half a tie


def pairs(state):
    """The round's matches [..., M, 2] int32: all i < j."""
    *batch, n, _ = state.scores.shape
    both = _all(0 if state.played else n)
    return jnp.broadcast_to(both, (*batch, *both.shape))


def record(state, scores):
    """Takes what both sides of each match got, [..., M, 2]."""
    scores = places.check_scores(pairs(state), scores)
    i, j = _all(state.scores.shape[-1]).T
    table = state.scores.at[..., i, j].set(scores[..., 0]).at[..., j, i].set(scores[..., 1])
    return read(state, table)


def read(state, scores):
    """Records the round from what everyone gets against everyone, [..., N, N]."""
    return dataclasses.replace(state, scores=scores, played=True)


def rank(state):
    """Competition ranks [..., N] int32 by win rate: by points, 2(N − 1) times the rate."""
    theirs, n = state.scores, state.scores.shape[-1]
    mine = theirs.swapaxes(-1, -2)
    alone = jnp.eye(n, dtype=bool)

    def won(j):
        mine_j, theirs_j = mine[..., j, :], theirs[..., j, :]  # [j, i]: what i got, and j from i
        points = 2 * (mine_j > theirs_j) + state.tie * (mine_j == theirs_j)
        # One pass over the table: a match without a score counts more than all others together.
        points = jnp.where(jnp.isfinite(mine_j) & jnp.isfinite(theirs_j), points, 2 * n)
        return jnp.where(alone[j], 0, points)

    points = places.counted(n, won)
    return places.voided(places.shared(points), (points >= 2 * n).any(-1))


def _all(n):
    return jnp.array(list(itertools.combinations(range(n), 2)), jnp.int32).reshape(-1, 2)
