"""What each policy objective gives a token, to be maximised; plain arrays in, plain arrays out.

Arrays are [N, M] f32 and finite: log-probs and advantages under the mask have been set to 0 and
ratios to 1 (`ops.ratios`). Most return (objective, 1 where the gradient was cut off or bounded).
Left out on purpose: weights of a mean (`ops.aggregations`) and the one division by the weight of
the whole batch, which belongs to the train step.
"""

import jax
import jax.numpy as jnp

from jaxrl.ops import ratios


def clipped_surrogate(ratio, adv, *, eps_low, eps_high, dual_clip=0.0):
    """PPO's clipped objective of each token, to be maximised.

        min(ρ_t A_t, clip(ρ_t, 1−ε_low, 1+ε_high) A_t),   dual clip: ≥ c·A_t where A_t < 0

    Schulman et al. 2017, arXiv:1707.06347, eq. 7; two ε: Yu et al. 2025, arXiv:2503.14476, eq. 10;
    dual clip with c > 1 (they take 3; 0 is off): Ye et al. 2020, arXiv:1912.09729. The two-sided
    clip min(min(ρ_t, δ) A_t, clip(..) A_t) of INTELLECT-2, arXiv:2505.07291, is the same with
    c = δ > 1 + ε_high.

    ratio, adv: [N, M] f32.  returns: (objective, 1 where a clip cut the gradient off), [N, M] f32.
    """
    plain = ratio * adv
    bounded = jnp.clip(ratio, 1 - eps_low, 1 + eps_high) * adv
    value = jnp.minimum(plain, bounded)
    if dual_clip:
        value = jnp.where(adv < 0, jnp.maximum(value, dual_clip * adv), value)
    return value, (value != plain).astype(jnp.float32)


def clipped_weight(logp, ratio, adv, *, eps_low, eps_high):
    """CISPO: the ratio is a clipped, constant weight, so that no token loses its gradient.

        sg[clip(ρ_t, 1−ε_low, 1+ε_high)] A_t log π(y_t)

    MiniMax 2025, arXiv:2506.13585, eq. 4-5. ε_low = 1 is no lower bound (as theirs, and TRL's);
    verl clips on both sides.

    All [N, M] f32.  returns: (objective, 1 where the weight was clipped).
    """
    weight = jax.lax.stop_gradient(jnp.clip(ratio, 1 - eps_low, 1 + eps_high))
    return weight * adv * logp, (weight != ratio).astype(jnp.float32)


def soft_gate(ratio, adv, *, tau_pos, tau_neg):
    """SAPO: a sigmoid in place of the clip, with slope A_t at ρ_t = 1.

        (4/τ) σ(τ (ρ_t − 1)) A_t,   τ = τ_pos where A_t > 0, else τ_neg

    Gao et al. 2025, arXiv:2511.20347. A larger τ forgets off-policy tokens faster.

    ratio, adv: [N, M] f32.  returns: [N, M] f32.
    """
    tau = jnp.where(adv > 0, tau_pos, tau_neg)
    return 4 / tau * jax.nn.sigmoid(tau * (ratio - 1)) * adv


def geometric_mean(log_rho, adv, mask, sample, *, eps_low, eps_high):
    """GMPO: the geometric mean of a response's clipped ratios, written at each of its tokens.

        exp(1/|y| Σ_t ℓ_t) · Ā,   s ℓ_t = min(s log ρ_t, s clip(log ρ_t, −ε_low, ε_high)),
        s = sign A_t

    Zhao et al. 2025, arXiv:2507.20673, eq. 4 with the token-level clip in log space (they take
    ε = 0.4); Ā, the mean of A_t over the response, is verl's reading for token advantages.

    log_rho, adv, mask [N, M] f32, sample int32.  returns: (objective, 1 where ℓ_t ≠ log ρ_t).
    """
    sign = jnp.sign(adv)
    bounded = jnp.clip(log_rho, -eps_low, eps_high)
    limited = jnp.where(sign * log_rho <= sign * bounded, log_rho, bounded)
    ratio = jnp.exp(ratios.response_mean(limited, mask, sample))
    cut = mask * (limited != log_rho)
    return ratio * ratios.response_mean(adv, mask, sample), cut


def divergence_proximal(logp, old_logp, ratio, adv, *, kind, eps_low, eps_high, max_ratio):
    """DPPO: tokens that left a trust region in the direction of their advantage are dropped.

        sg[min(ρ_t, C) · keep_t] A_t log π(y_t)
            p = π(y_t), q = π_old(y_t)
        tv: keep ⇔ p − q ≤ ε_high where A > 0, p − q ≥ −ε_low else
        kl: keep ⇔ D ≤ ε or the token moved against its advantage,
            D = q log(q/p) + (1−q) log((1−q)/(1−p))

    Qi et al. 2026, arXiv:2602.04879 (binary approximations); A = 0 counts as negative.

    kind: "tv" or "kl".  All [N, M] f32.  returns: (objective, 1 where not kept).
    """
    p, q = jnp.exp(logp), jnp.exp(old_logp)
    high, low = p - q, q - p
    if kind == "kl":
        # −expm1 is 1 − p without cancellation; p rounds to 1, so both are kept off 0 (our choice).
        rest = lambda x: jnp.log(jnp.maximum(-jnp.expm1(x), 1e-8))
        moved = q * (old_logp - logp) + (1 - q) * (rest(old_logp) - rest(logp))
        high, low = jnp.where(p > q, moved, 0), jnp.where(p < q, moved, 0)
    keep = jnp.where(adv > 0, high <= eps_high, low <= eps_low).astype(jnp.float32)
    weight = jax.lax.stop_gradient(jnp.minimum(ratio, max_ratio) * keep)
    return weight * adv * logp, 1 - keep


def quadratic(logp, log_rho, adv, *, beta):
    """DRO: a squared log-ratio in place of importance weights.

        A_t log π(y_t) − β/2 (log ρ_t)²

    Richemond et al. 2024, arXiv:2405.19107, per token and with a given advantage (as in verl).

    All [N, M] f32.  returns: [N, M] f32.
    """
    return adv * logp - beta / 2 * jnp.square(log_rho)


def overlong_penalty(length, *, max_length, buffer, factor=1.0):
    """DAPO's soft overlong punishment, a term of the reward; lengths in tokens.

        0                                     |y| ≤ L_max − L_buf
        factor · ((L_max − L_buf) − |y|) / L_buf     up to L_max
        −factor                               beyond

    Yu et al. 2025, arXiv:2503.14476, eq. 13 (there factor = 1).

    length: [B] int32.  returns: [B] f32.
    """
    if not 0 < buffer <= max_length:
        raise ValueError(f"buffer={buffer!r}: give a number of tokens from 1 to {max_length=}")
    over = (max_length - buffer - length) / buffer
    return factor * jnp.clip(over, -1, 0).astype(jnp.float32)
