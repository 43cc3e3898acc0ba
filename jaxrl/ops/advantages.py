"""Advantages from rewards and ids: one segment kernel under every group estimator.

Rows stand in any order and groups may be ragged; only the number of groups is static. What compares
otherwise than by mean and standard deviation is in group_advantages.py, what goes token by token in
token_advantages.py.
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
    counted=None,
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
    counted: the rows that enter μ and σ, if not all; the others are measured against them.

    rewards: [B] f32; ids: [B] int32 below num_groups, num_std_groups; valid, counted: [B] bool.
    returns: [B] f32.
    """
    ok = scorable(rewards, valid)
    rewards = jnp.where(ok, rewards, 0).astype(jnp.float32)
    judged = ok if counted is None else ok & counted
    edge = {"singleton": singleton, "zero_std_rel_tol": zero_std_rel_tol}
    adv, silent = rewards, ~ok
    if mean_ids is not None:
        adv, quiet = centre(rewards, judged, mean_ids, num_groups, leave_one_out, **edge)
        silent |= quiet
    if std_ids is not None:
        sizes = {"ddof": ddof, "eps": eps, "eps_mode": eps_mode} | edge
        divisor, quiet = scale(rewards, judged, std_ids, num_std_groups, **sizes)
        adv, silent = adv / divisor, silent | quiet
    return jnp.where(silent, 0, adv)


def zero_variance(rewards, group, num_groups, *, valid=None, zero_std_rel_tol=1e-6):
    """Which groups cannot teach: fewer than two scorable rewards, or all of them equal.

    The condition is the one under which `normalise` returns exact zeros (singleton "zero"), so
    dynamic sampling (arXiv:2503.14476, eq. 11) drops just those groups.

    rewards: [B] f32; group: [B] int32; valid: [B] bool.  returns: [num_groups] bool.
    """
    ok = scorable(rewards, valid)
    rewards = jnp.where(ok, rewards, 0).astype(jnp.float32)
    count, _, _, flat = moments(rewards, ok, group, num_groups, zero_std_rel_tol)
    return flat | (count < 2)


def whiten(x, weight, *, ddof=1, eps=1e-6, zero_std_rel_tol=1e-6):
    """Standardises over the whole batch.

        (x_i − μ) / (σ + ε),   μ = Σ w x / Σ w,   σ² = Σ w (x − μ)² / (Σ w − ddof)

    REINFORCE++, arXiv:2501.03262. Tokens count alike: an [B] advantage is weighted by its length.
    Exactly 0 where all is equal, and where weight is 0.

    x, weight: [B] or [B, R] f32.  returns: the same shape.
    """
    on = weight > 0
    total = jnp.maximum(weight.sum(), 1)
    top = jnp.where(on, x, -jnp.inf).max()
    shifted = jnp.where(on, x - top, 0)
    deviation = shifted - (weight * shifted).sum() / total
    squares = (weight * jnp.square(deviation)).sum()
    flat = root(squares / total) <= zero_std_rel_tol * jnp.where(on, jnp.abs(x), 0).max()
    sigma = root(squares / jnp.maximum(weight.sum() - ddof, 1))
    return jnp.where(on & ~flat, deviation / (sigma + eps), 0)


def scorable(rewards, valid=None):
    """Finite and not masked out.  [B] bool."""
    ok = jnp.isfinite(rewards)
    return ok if valid is None else ok & valid


def sizes(ok, ids, num_groups):
    """How many of each group are ok.  [num_groups] int32."""
    return jax.ops.segment_sum(ok.astype(jnp.int32), ids, num_groups)


def centre(rewards, ok, ids, num_groups, leave_one_out, *, singleton, zero_std_rel_tol):
    """(r − μ of its group, or the bare r of a singleton; whether it must be silent), [B] each."""
    count, deviation, _, flat = moments(rewards, ok, ids, num_groups, zero_std_rel_tol)
    alone = count == 1
    others = count / jnp.maximum(count - 1, 1) if leave_one_out else jnp.ones_like(count)
    adv = jnp.where(alone[ids], rewards, others[ids] * deviation)
    return adv, (flat | (count == 0) | {"zero": alone, "raw": False}[singleton])[ids]


def scale(rewards, ok, ids, num_groups, *, ddof, eps, eps_mode, singleton, zero_std_rel_tol):
    """(σ + ε of its group, or 1 + ε of a singleton; whether it must be silent), [B] each."""
    count, _, squares, flat = moments(rewards, ok, ids, num_groups, zero_std_rel_tol)
    alone = count == 1
    sigma = jnp.where(alone, 1, root(squares / jnp.maximum(count - ddof, 1)))
    divisor = {"add": sigma + eps, "floor": jnp.maximum(sigma, eps)}[eps_mode]
    silent = flat | (count == 0) | {"zero": alone, "raw": False}[singleton]
    return jnp.where(silent, 1, divisor)[ids], silent[ids]


def moments(rewards, ok, ids, num_groups, rel_tol):
    """Of each group: count, Σ(r − μ)² and whether it is flat, [num_groups]; of each row: r − μ."""
    total = lambda x: _sum(jnp.where(ok, x, 0), ids, num_groups)
    largest = lambda x: _max(jnp.where(ok, x, -jnp.inf), ids, num_groups)
    count = total(jnp.ones_like(rewards))
    divisor = jnp.maximum(count, 1)
    # Seen from the group's largest reward, equal rewards deviate by exactly 0, however summed.
    top = jnp.where(count > 0, largest(rewards), 0)
    shifted = rewards - top[ids]
    deviation = shifted - (total(shifted) / divisor)[ids]
    squares = total(jnp.square(deviation))
    flat = (count > 1) & (root(squares / divisor) <= rel_tol * largest(jnp.abs(rewards)))
    return count, deviation, squares, flat


def _sum(x, ids, num_groups):
    """Over each group; one group is a plain sum, where a scatter would add row after row."""
    return x.sum()[None] if num_groups == 1 else jax.ops.segment_sum(x, ids, num_groups)


def _max(x, ids, num_groups):
    return x.max()[None] if num_groups == 1 else jax.ops.segment_max(x, ids, num_groups)


def root(x):
    """√x for x ≥ 0, with gradient 0 at 0 instead of NaN."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)
