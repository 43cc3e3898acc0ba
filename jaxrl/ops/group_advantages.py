"""Group advantages that are more than a mean and a standard deviation: maxima, weights, ranks.

Conventions as in advantages.py: rows in any order, ragged groups, unscorable rewards (not finite or
not valid) left out and given 0. rewards: [B] f32; group: [B] int32 below num_groups; valid: [B].
"""

import jax
import jax.numpy as jnp

from jaxrl.ops import advantages


def best_of_group(rewards, group, *, num_groups, valid=None, **sizes):
    """Only the best sample of a group is rewarded, by its lead.

        A_i = (r_max − r_2nd) / (σ + ε)  where r_i = r_max,   0 elsewhere

    arXiv:2503.19595. A shared first place has no lead: 0. One scorable reward: 0, or r / (1 + ε)
    with singleton "raw" (our choice).  sizes: as for `advantages.scale`.  returns: [B] f32.
    """
    ok = advantages.scorable(rewards, valid)
    rewards = jnp.where(ok, rewards, 0).astype(jnp.float32)
    largest = lambda of: jax.ops.segment_max(jnp.where(of, rewards, -jnp.inf), group, num_groups)
    best = ok & (rewards == largest(ok)[group])
    second = largest(ok & ~best)[group]
    second = jnp.where(jnp.isfinite(second), second, 0)
    shared = jax.ops.segment_sum(best.astype(jnp.float32), group, num_groups)[group] > 1
    divisor, silent = advantages.scale(rewards, ok, group, num_groups, **sizes)
    return jnp.where(best & ~shared & ~silent, (rewards - second) / divisor, 0)


def length_weighted(rewards, group, length, *, num_groups, valid=None, singleton, zero_std_rel_tol):
    """The baseline of least variance when gradients grow with length.

        A_i = r_i − Σ_j l_j r_j / Σ_j l_j

    OPO, arXiv:2505.23585. Empty responses weigh nothing; a group of them only has baseline 0.
    length: [B].  returns: [B] f32.
    """
    ok = advantages.scorable(rewards, valid)
    rewards = jnp.where(ok, rewards, 0).astype(jnp.float32)
    edge = {"singleton": singleton, "zero_std_rel_tol": zero_std_rel_tol}
    plain, silent = advantages.centre(rewards, ok, group, num_groups, False, **edge)
    total = lambda x: jax.ops.segment_sum(jnp.where(ok, x, 0), group, num_groups)
    length = length.astype(jnp.float32)
    words, count = total(length), total(jnp.ones_like(rewards))
    # Against the mean, not against 0: sums of large equal rewards would not cancel.
    shift = (total(length * plain) / jnp.maximum(words, 1))[group]
    bare = (count == 1) | (words == 0)
    return jnp.where(silent | ~ok, 0, jnp.where(bare[group], rewards, plain - shift))


def per_success(rewards, group, *, num_groups, valid=None, eps, zero_std_rel_tol):
    """Scales by the mean instead of the spread: hard prompts weigh more.

        A_i = (r_i − μ) / (μ + ε)

    MaxRL, arXiv:2602.02710, for rewards ≥ 0. Where μ ≤ 0 there was no success to learn from: 0
    (our choice; with 0/1 rewards it only meets groups of zeros). One scorable reward is its own
    mean: 0.  returns: [B] f32.
    """
    ok = advantages.scorable(rewards, valid)
    rewards = jnp.where(ok, rewards, 0).astype(jnp.float32)
    edge = {"singleton": "zero", "zero_std_rel_tol": zero_std_rel_tol}
    adv, silent = advantages.centre(rewards, ok, group, num_groups, False, **edge)
    total = lambda x: jax.ops.segment_sum(jnp.where(ok, x, 0), group, num_groups)
    mean = total(rewards) / jnp.maximum(total(jnp.ones_like(rewards)), 1)
    divisor = jnp.where(mean > 0, mean + eps, 1)[group]
    return jnp.where(silent | ~ok | (mean <= 0)[group], 0, adv / divisor)


def signal_share(adv, rewards, group, *, num_groups, valid=None, by="groups", zero_std_rel_tol):
    """What remains of a batch when samples that teach nothing are left out, inverted.

        α A_i,   α = B / (B − M)

    GPG, arXiv:2504.02546. M: scorable samples of groups without a signal (by "groups"), or those
    of reward 0 (by "rewards", as verl counts).  adv: [B].  returns: [B] f32.
    """
    ok = advantages.scorable(rewards, valid)
    if by == "groups":
        tolerance = {"valid": valid, "zero_std_rel_tol": zero_std_rel_tol}
        useful = ~advantages.zero_variance(rewards, group, num_groups, **tolerance)[group]
    else:
        useful = rewards != 0
    return adv * ok.sum() / jnp.maximum((ok & useful).sum(), 1)


def smallest(metric, ok, group, *, num_groups, keep):
    """The `keep` rows of smallest metric in each group; equal rows stand or fall together.

    Found by bisection: a sort of the batch takes an order of magnitude longer. Lengths need some
    ten halvings, floats about thirty.

    metric: [B] int32 or f32; keep: [num_groups] int32.  returns: [B] bool, false where not ok.
    """
    order = metric if jnp.issubdtype(metric.dtype, jnp.integer) else _ordinal(metric)
    least = jnp.where(ok, order, jnp.iinfo(jnp.int32).max).min() - 1
    most = jnp.where(ok, order, least).max()

    def halve(bounds):
        low, high = bounds
        mid = (low & high) + ((low ^ high) >> 1)  # the mean, without overflow
        below = (ok & (order <= mid[group])).astype(jnp.int32)
        enough = jax.ops.segment_sum(below, group, num_groups) >= keep
        return jnp.where(enough, low, mid), jnp.where(enough, mid, high)

    apart = lambda bounds: (bounds[0] + 1 < bounds[1]).any()
    start = jnp.full(num_groups, least), jnp.full(num_groups, most)
    return ok & (order <= jax.lax.while_loop(apart, halve, start)[1][group])


def _ordinal(metric):
    """f32 -> int32 in the same order: negative floats have their bits flipped below the sign."""
    metric = jnp.where(metric == 0, 0.0, metric.astype(jnp.float32))  # −0 is 0
    bits = jax.lax.bitcast_convert_type(metric, jnp.int32)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def rank_rewards(rank, group, *, num_groups, valid=None):
    """Quantile rewards from the places of a tournament.

        r_i = 1 − rank_i / (N − 1)

    ArenaRL, arXiv:2601.06487, eq. 6. rank 0 is the best; shared places are averaged by the caller;
    negative or not finite = not ranked, NaN. N counts the ranked of a group; N = 1 gives 1.

    rank: [B] int32 or f32.  returns: [B] f32.
    """
    rank = rank.astype(jnp.float32)
    ok = advantages.scorable(rank, valid) & (rank >= 0)
    count = jax.ops.segment_sum(ok.astype(jnp.float32), group, num_groups)
    return jnp.where(ok, 1 - jnp.where(ok, rank, 0) / jnp.maximum(count - 1, 1)[group], jnp.nan)
