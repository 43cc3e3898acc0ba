"""Tokens singled out by comparing the whole batch. Arrays may have any shape, mask [..] f32."""

import jax
import jax.numpy as jnp


def covariance(logp, adv, mask):
    """Each token's part in the covariance of log-prob and advantage, which drives the entropy.

        (log π(y_t) − mean log π) (A_t − mean A),   means over all tokens of the batch

    Cui et al. 2025, arXiv:2505.22617 (token-wise centred cross-product).

    logp, adv finite.  returns: [..] f32, 0 where mask is 0.
    """
    n = jnp.maximum(mask.sum(), 1)
    centred = lambda x: x - (mask * x).sum() / n
    return mask * centred(logp) * centred(adv)


def top(score, eligible, count):
    """1 at the `count` eligible entries of highest score, 0 elsewhere; earlier ones win ties.

    score [..] f32, eligible [..] bool, count [].  returns: [..] f32.
    """
    flat = jnp.where(eligible, score, -jnp.inf).reshape(-1)
    order = jnp.argsort(-flat, stable=True)
    rank = jnp.zeros(flat.shape, jnp.int32).at[order].set(jnp.arange(flat.size, dtype=jnp.int32))
    return (eligible & (rank.reshape(score.shape) < count)).astype(jnp.float32)


def share(mask, part):
    """How many tokens a part of the batch is: rounded down, at least 1, as its authors' code."""
    return jnp.maximum(jnp.floor(part * mask.sum()), 1)


def draws(tokens, like):
    """Uniform numbers in [0, 1) that depend on the batch's tokens alone: the same at every rerun,
    on every mesh and for every size of micro-batch.  returns: the shape of `like`, f32."""
    key = jax.random.fold_in(jax.random.key(0), tokens.astype(jnp.uint32).sum())
    return jax.random.uniform(key, (like.size,)).reshape(like.shape)
