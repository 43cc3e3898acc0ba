"""Weights for tokens that another program, or an older policy, sampled; any objective takes them.

All are of one signature, f(log_w, drift, adv, mask, sample, *, low, high) -> (weight, cut): log_w =
log π_old − log μ of each token, with π_old the learner's log-prob before the update and μ the
sampler's; drift = log μ − log π, of the policy as it is now. cut is 1 where the weight is not w
itself. Arrays are [N, M] f32, 0 under the mask; sample int32. A weight is a constant: no gradient.
Dropped tokens stay in the divisor of the mean (our choice, as in TRL).
"""

import jax.numpy as jnp

from jaxrl.ops import ratios


def none(log_w, drift, adv, mask, sample, *, low, high):
    """Weight 1."""
    return jnp.ones_like(log_w), jnp.zeros_like(log_w)


def tis_token(log_w, drift, adv, mask, sample, *, low, high):
    """Truncated importance sampling, a token at a time: min(w_t, C), C = high.

    Yao et al. 2025, "Your Efficient RL Framework Secretly Brings You Off-Policy RL Training".
    """
    return _truncate(jnp.exp(log_w), high)


def tis_sequence(log_w, drift, adv, mask, sample, *, low, high):
    """The same for whole responses: min(Π_t w_t, C) at each token, C = high.

    As TRL's and verl's sequence mode. log Π_t w_t is limited to ±20.
    """
    limit = ratios.LOG_RATIO_LIMIT
    total = jnp.clip(ratios.response_sum(log_w, mask, sample), -limit, limit)
    return _truncate(jnp.exp(total), high)


def icepop(log_w, drift, adv, mask, sample, *, low, high):
    """w_t where low ≤ w_t ≤ high, else 0: tokens that disagree are dropped.

    Ling Team 2025, arXiv:2510.18855 (IcePop; they take 0.5 and 5).
    """
    w = jnp.exp(log_w)
    keep = (low <= w) & (w <= high)
    return jnp.where(keep, w, 0), (~keep).astype(jnp.float32)


def mask_sequence(log_w, drift, adv, mask, sample, *, low, high):
    """w_t in responses whose geometric mean (Π_t w_t)^(1/|y|) lies in [low, high], else 0.

    As OpenRLHF's sequence mask.
    """
    mean = jnp.exp(ratios.response_mean(log_w, mask, sample))
    keep = (low <= mean) & (mean <= high)
    return jnp.where(keep, jnp.exp(log_w), 0), (~keep).astype(jnp.float32)


def off_policy_mask(log_w, drift, adv, mask, sample, *, low, high):
    """0 for responses with A < 0 that the policy has left, else 1.

        0  ⇔  A < 0  and  1/|y| Σ_t log(μ(y_t) / π(y_t)) > δ,   δ = high

    DeepSeek-AI 2025, arXiv:2512.02556 (off-policy sequence masking). It needs no π_old.
    """
    far = ratios.response_mean(drift, mask, sample) > high
    drop = far & (adv < 0)
    return jnp.where(drop, 0.0, 1.0), drop.astype(jnp.float32)


def _truncate(w, cap):
    return jnp.minimum(w, cap), (w > cap).astype(jnp.float32)


CORRECTIONS = {
    "none": none,
    "tis_token": tis_token,
    "tis_sequence": tis_sequence,
    "icepop": icepop,
    "mask_sequence": mask_sequence,
    "off_policy_mask": off_policy_mask,
}
