"""Everyone meets the anchor, player 0: N − 1 matches in one round."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from jaxrl.ops.tournaments import places


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Anchored:
    """The ranks so far, and whether the one round was played."""

    rank: Array  # [N, ...] int32
    void: Array  # [...] bool: a match had no score
    played: bool = dataclasses.field(metadata={"static": True})


def init(n, key=None, batch=()):
    """No match played. Nothing here is random: the key is idle."""
    places.check_size(n)
    return Anchored(jnp.zeros((n, *batch), jnp.int32), jnp.zeros(batch, bool), n == 1)


def pairs(state):
    """The round's matches [M, 2, ...] int32: each player from 1 on, first, against player 0."""
    n, *batch = state.rank.shape
    return matches(0 if state.played else n - 1, batch)


def matches(m, batch):
    """Players 1 … m against player 0, in every group: [m, 2, ...] int32."""
    challenger = jnp.arange(1, m + 1, dtype=jnp.int32)
    both = jnp.stack([challenger, jnp.zeros_like(challenger)], 1)
    return jnp.broadcast_to(both.reshape((m, 2) + (1,) * len(batch)), (m, 2, *batch))


def record(state, scores):
    """Takes what both sides of each match got, [M, 2, ...]."""
    scores = places.check_scores(pairs(state), scores)
    return Anchored(standing(scores, places.shared), places.unscorable(scores), True)


def rank(state):
    """Competition ranks [N, ...] int32: by s_i, and the mean of its own scores for the anchor."""
    return places.voided(state.rank, state.void)


def standing(scores, place):
    """Places of all N by their scores against the anchor, which has the mean of its own.

    place: `places.shared` or `places.split`, for ties. The mean is not divided out: whole numbers
    tie where the exact mean does.  scores: [N − 1, 2, ...].  returns: [N, ...] int32.
    """
    mine, anchors = scores[:, 0], scores[:, 1]
    scaled, total = len(scores) * mine, anchors.sum(0)
    behind = total > scaled if place is places.shared else total >= scaled
    first = (scaled > total).sum(0, dtype=jnp.int32)
    return jnp.concatenate([first[None], place(mine) + behind])
