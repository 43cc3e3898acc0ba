"""Rewards of rounds: discounts over the rounds of a rollout, and batches of a divisible size."""

import jax.numpy as jnp


def round_rewards(rewards, round, rounds, *, gamma):
    """An outcome reward, discounted by the rounds that were still to come.

        r_t = γ^(T − t) R

    IterResearch, arXiv:2511.07327, eq. 3. round: t from 1 to T; rounds: T of the row's rollout.

    All [B].  returns: [B] f32.
    """
    left = (rounds - round).astype(jnp.float32)
    return rewards * jnp.power(gamma, left)


def keep_multiple(lot, valid, multiple):
    """Drops the rows of least lot until a multiple of the data-parallel size is left.

        |C_train| = ⌊|C| / DP⌋ · DP

    IterResearch, arXiv:2511.07327, eq. 4, over the whole batch: less is lost so. Advantages come
    first.

    lot: [B] f32; valid: [B] bool.  returns: [B] bool, a subset of valid.
    """
    place = jnp.argsort(jnp.argsort(jnp.where(valid, lot, jnp.inf)))
    return valid & (place >= valid.sum() % multiple)
