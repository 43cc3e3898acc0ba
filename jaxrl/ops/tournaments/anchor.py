"""Everyone meets the anchor, player 0: N − 1 matches in one round."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from jaxrl.ops.tournaments import places


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Anchored:
    """What everyone got in the one round, once it was played."""

    total: Array  # [..., N] f32, as by `seeding`
    played: bool = dataclasses.field(metadata={"static": True})


def init(n, key=None, batch=()):
    """No match played. Nothing here is random: the key is idle."""
    places.check_size(n)
    return Anchored(jnp.zeros((*batch, n)), n == 1)


def pairs(state):
    """The round's matches [..., M, 2] int32: each player from 1 on, first, against player 0."""
    *batch, n = state.total.shape
    return matches(0 if state.played else n - 1, batch)


def record(state, scores):
    """Takes what both sides of each match got, [..., M, 2]."""
    return Anchored(seeding(places.check_scores(pairs(state), scores)), True)


def read(state, scores):
    """Records the round from what everyone gets against everyone, [..., N, N]."""
    return record(state, met(scores))


def rank(state):
    """Competition ranks [..., N] int32: by s_i, and the mean of its own scores for the anchor."""
    return places.voided(places.shared(state.total), ~jnp.isfinite(state.total).all(-1))


def matches(m, batch):
    """Players 1 … m against player 0, in every group: [..., m, 2] int32."""
    challenger = jnp.arange(1, m + 1, dtype=jnp.int32)
    both = jnp.stack([challenger, jnp.zeros_like(challenger)], 1)
    return jnp.broadcast_to(both, (*batch, m, 2))


def met(scores):
    """What both sides of those matches get, [..., N − 1, 2]: slices, where a gather costs more."""
    return jnp.stack([scores[..., 1:, 0], scores[..., 0, 1:]], -1)


def seeding(scores):
    """N − 1 times everyone's score against the anchor, which has the mean of its own: [..., N].

    The mean is not divided out: whole numbers tie where the exact mean does.
    scores: [..., N − 1, 2].
    """
    scaled, total = scores.shape[-2] * scores[..., 0], scores[..., 1].sum(-1, keepdims=True)
    return jnp.concatenate([total, scaled], -1)
