"""The reward of evidence-augmented reasoning: format, outcome and group-relative evidence."""

import jax
import jax.numpy as jnp

from jaxrl.ops import advantages

LOWEST, HIGHEST = 1, 5  # the scale of the evidence judge


def evidence_rewards(
    outcome, scores, format_ok, group, *, num_groups, mode, evidence, correct, formatted
):
    """One number from three judgements.

        R_i = w_f + w_a R_a,i + β ŝ_i   if the format is valid, 0 otherwise
        ŝ = (s − 1) / 4  ("abs"),   (s − min) / (max − min), ½ if they are equal  ("minmax"),
        (s − μ) / σ, 0 if σ = 0  ("z");  min, max, μ and population σ over the group's valid

    EAPO, arXiv:2601.10306; the sum is the paper's, its exact form and the modes are our choice. NaN
    in the outcome, or in the score of a valid format, is unscorable: NaN.

    outcome, scores: [B] f32; format_ok: [B] bool.  returns: [B] f32.
    """
    scores = scores.astype(jnp.float32)
    listed = format_ok & jnp.isfinite(scores)
    share = _MODES[mode](jnp.where(listed, scores, LOWEST), listed, group, num_groups)
    reward = formatted + correct * outcome + evidence * jnp.where(listed, share, jnp.nan)
    return jnp.where(format_ok, reward, jnp.where(jnp.isfinite(outcome), 0, jnp.nan))


def _absolute(scores, listed, group, num_groups):
    return (scores - LOWEST) / (HIGHEST - LOWEST)


def _minmax(scores, listed, group, num_groups):
    low = jax.ops.segment_min(jnp.where(listed, scores, jnp.inf), group, num_groups)[group]
    high = jax.ops.segment_max(jnp.where(listed, scores, -jnp.inf), group, num_groups)[group]
    apart = high > low
    return jnp.where(apart, (scores - low) / jnp.where(apart, high - low, 1), 0.5)


def _z(scores, listed, group, num_groups):
    return advantages.normalise(
        scores,
        group,
        group,
        num_groups=num_groups,
        num_std_groups=num_groups,
        valid=listed,
        ddof=0,
        eps=0,
    )


_MODES = {"abs": _absolute, "minmax": _minmax, "z": _z}


def evidence_range(mode, group_size):
    """By how much ŝ of two samples of a group can differ at most: 1, or √(2n) in mode "z".

    √(2n): σ² ≥ (d/2)² · 2 / n for any two scores that lie d apart.
    """
    return (2 * group_size) ** 0.5 if mode == "z" else 1.0
