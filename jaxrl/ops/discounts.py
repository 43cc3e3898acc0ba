"""Rewards of rounds: discounts over the rounds of a rollout, and batches of a divisible size."""

import jax
import jax.numpy as jnp


def round_rewards(rewards, round, rounds, *, gamma):
    """An outcome reward, discounted by the rounds that were still to come.

        r_t = γ^(T − t) R

    IterResearch, arXiv:2511.07327, eq. 3. round: t from 1 to T; rounds: T of the row's rollout.

    All [B].  returns: [B] f32.
    """
    left = (rounds - round).astype(jnp.float32)
    return rewards * jnp.power(gamma, left)


def keep_multiple(key, valid, multiple):
    """Drops rows at random until a multiple of the data-parallel size is left.

        |C_train| = ⌊|C| / DP⌋ · DP

    IterResearch, arXiv:2511.07327, eq. 4; all rows are as likely to go. Advantages come first.

    valid: [B] bool.  returns: [B] bool, a subset.
    """
    draw = jnp.where(valid, jax.random.uniform(key, valid.shape), jnp.inf)
    place = jnp.argsort(jnp.argsort(draw))
    return valid & (place >= valid.sum() % multiple)
