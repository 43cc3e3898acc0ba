"""Advantages from rewards and ids: one segment kernel under every group estimator.

Rows stand in any order and groups may be ragged; only the number of groups is static. Left out on
purpose: estimators by rank (tournaments) and by token.
"""

import jax
import jax.numpy as jnp


def normalise(
    rewards,
    mean_ids,
    std_ids,
    *,
    num_groups,
    num_std_groups=0,
    valid=None,
    ddof=1,
    eps=1e-6,
    eps_mode="add",
    singleton="zero",
    zero_std_rel_tol=1e-6,
    leave_one_out=False,
):
    """Centres each reward in one grouping and scales it by the spread of another.

        A_i = (r_i − μ_g) / (σ_h + ε),   g = mean_ids[i],   h = std_ids[i]

    (prompt, prompt) is GRPO, arXiv:2402.03300; (prompt, None) is Dr.GRPO, arXiv:2503.20783, and
    RLOO, arXiv:2402.14740, with leave_one_out (μ over the others). None: no centring, no scaling.

    Unscorable rewards (not finite, or not valid) stay out of every μ and σ and get 0. A group with
    one scorable reward gets 0 ("zero"), or μ = 0 and σ = 1 ("raw"). Where the population σ of
    either group is at most zero_std_rel_tol · max|r|, A is exactly 0. eps_mode: σ + ε ("add") or
    max(σ, ε) ("floor"). The papers leave these cases and ddof open; the defaults are our choice.

    rewards: [B] f32; ids: [B] int32 below num_groups, num_std_groups; valid: [B] bool.
    returns: [B] f32.
    """
    ok = _scorable(rewards, valid)
    rewards = jnp.where(ok, rewards, 0).astype(jnp.float32)
    adv, silent = rewards, ~ok
    if mean_ids is not None:
        count, deviation, _, flat = _moments(rewards, ok, mean_ids, num_groups, zero_std_rel_tol)
        alone = count == 1
        others = count / jnp.maximum(count - 1, 1) if leave_one_out else jnp.ones_like(count)
        adv = jnp.where(alone[mean_ids], rewards, others[mean_ids] * deviation)
        silent |= (flat | {"zero": alone, "raw": False}[singleton])[mean_ids]
    if std_ids is not None:
        count, _, squares, flat = _moments(rewards, ok, std_ids, num_std_groups, zero_std_rel_tol)
        alone = count == 1
        sigma = jnp.where(alone, 1, jnp.sqrt(squares / jnp.maximum(count - ddof, 1)))
        adv /= {"add": sigma + eps, "floor": jnp.maximum(sigma, eps)}[eps_mode][std_ids]
        silent |= (flat | {"zero": alone, "raw": False}[singleton])[std_ids]
    return jnp.where(silent, 0, adv)


def zero_variance(rewards, group, num_groups, *, valid=None, zero_std_rel_tol=1e-6):
    """Which groups cannot teach: fewer than two scorable rewards, or all of them equal.

    The condition is the one under which `normalise` returns exact zeros (singleton "zero"), so
    dynamic sampling (arXiv:2503.14476, eq. 11) drops just those groups.

    rewards: [B] f32; group: [B] int32; valid: [B] bool.  returns: [num_groups] bool.
    """
    ok = _scorable(rewards, valid)
    rewards = jnp.where(ok, rewards, 0).astype(jnp.float32)
    count, _, _, flat = _moments(rewards, ok, group, num_groups, zero_std_rel_tol)
    return flat | (count < 2)


def _scorable(rewards, valid):
    ok = jnp.isfinite(rewards)
    return ok if valid is None else ok & valid


def _moments(rewards, ok, ids, num_groups, rel_tol):
    """Of each group: count, Σ(r − μ)² and whether it is flat, [num_groups]; of each row: r − μ."""
    total = lambda x: jax.ops.segment_sum(jnp.where(ok, x, 0), ids, num_groups)
    largest = lambda x: jax.ops.segment_max(jnp.where(ok, x, -jnp.inf), ids, num_groups)
    count = total(jnp.ones_like(rewards))
    divisor = jnp.maximum(count, 1)
    # Seen from the group's largest reward, equal rewards deviate by exactly 0, however summed.
    shifted = jnp.where(ok, rewards - largest(rewards)[ids], 0)
    deviation = shifted - (total(shifted) / divisor)[ids]
    squares = total(jnp.square(deviation))
    flat = (count > 1) & (jnp.sqrt(squares / divisor) <= rel_tol * largest(jnp.abs(rewards)))
    return count, deviation, squares, flat
