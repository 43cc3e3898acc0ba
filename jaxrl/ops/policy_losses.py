"""The pieces of a policy loss, one number a scored token: ratios, clipping, KL, weights of a mean.

Arrays are [N, M] f32: N learner rows with M scored tokens each. A row holds several responses;
`sample` [N, M] int32 tells them apart within the row and `mask` is 1 where a token counts. Where it
is 0, log-probs may be anything, NaN included. Left out on purpose: the one division by the weight
of the whole batch, which belongs to the train step.
"""

import jax
import jax.numpy as jnp

LOG_RATIO_LIMIT = 20.0  # exp of more has no use, and an inf here would be inf · 0 in the gradient


def token_ratio(logp, old_logp, mask):
    """ρ_t = π(y_t) / π_old(y_t).

    Schulman et al. 2017, arXiv:1707.06347, §3. The log-ratio is limited to ±20 (our choice).

    All [N, M] f32.  returns: [N, M] f32, 1 where mask is 0.
    """
    return jnp.exp(_log_ratio(logp, old_logp, mask))


def sequence_ratio(logp, old_logp, mask, sample):
    """GSPO's ratio of a whole response, written at each of its tokens.

        s_i = (π(y_i) / π_old(y_i))^(1/|y_i|) = exp(1/|y_i| Σ_t log ρ_{i,t})

    Zheng et al. 2025, arXiv:2507.18071, eq. 7. Masked tokens count neither in Σ nor in |y_i|.

    All [N, M], sample int32.  returns: [N, M] f32, 1 where mask is 0.
    """
    return jnp.exp(_mean_log_ratio(logp, old_logp, mask, sample))


def sequence_token_ratio(logp, old_logp, mask, sample):
    """GSPO-token: the response's ratio as a value, the token's own log-prob in the gradient.

        s_{i,t} = sg[s_i] · π(y_{i,t}) / sg[π(y_{i,t})]

    Zheng et al. 2025, arXiv:2507.18071, eq. 14: advantages may then differ from token to token.

    All [N, M], sample int32.  returns: [N, M] f32, 1 where mask is 0.
    """
    log_s = _mean_log_ratio(logp, old_logp, mask, sample)
    own = jnp.where(mask > 0, logp, 0)
    sg = jax.lax.stop_gradient
    return jnp.exp(sg(log_s) + (own - sg(own)))


def clipped_surrogate(ratio, adv, *, eps_low, eps_high, dual_clip=0.0):
    """PPO's clipped objective of each token, to be maximised.

        min(ρ_t A_t, clip(ρ_t, 1−ε_low, 1+ε_high) A_t),   dual clip: ≥ c·A_t where A_t < 0

    Schulman et al. 2017, arXiv:1707.06347, eq. 7; two ε: Yu et al. 2025, arXiv:2503.14476, eq. 10;
    dual clip with c > 1 (they take 3; 0 is off): Ye et al. 2020, arXiv:1912.09729.

    ratio, adv: [N, M] f32.  returns: (objective, 1 where a clip cut the gradient off), [N, M] f32.
    """
    plain = ratio * adv
    bounded = jnp.clip(ratio, 1 - eps_low, 1 + eps_high) * adv
    value = jnp.minimum(plain, bounded)
    if dual_clip:
        value = jnp.where(adv < 0, jnp.maximum(value, dual_clip * adv), value)
    return value, (value != plain).astype(jnp.float32)


def kl(logp, ref_logp, mask, form="k3"):
    """KL(π ‖ π_ref) estimated from each token sampled from π.

        k1 = −log r,   k2 = (log r)² / 2,   k3 = (r − 1) − log r,   r = π_ref / π

    Schulman 2020, http://joschu.net/blog/kl-approx.html. k1 and k3 are unbiased, k2 and k3 are ≥ 0.
    As a loss on samples of π: the gradient of k1 is 0 in the mean, that of k2 is ∇KL(π ‖ π_ref),
    that of k3 is ∇KL(π_ref ‖ π).

    logp, ref_logp, mask: [N, M] f32.  returns: [N, M] f32, 0 where mask is 0.
    """
    return KL_FORMS[form](_log_ratio(ref_logp, logp, mask))


KL_FORMS = {
    "k1": lambda log_r: -log_r,
    "k2": lambda log_r: jnp.square(log_r) / 2,
    "k3": lambda log_r: jnp.expm1(log_r) - log_r,
}


def token_mean(mask, sample, *, max_length=0):
    """Every token weighs the same: DAPO, arXiv:2503.14476, eq. 12.

    mask, sample: [N, M].  returns: (weights [N, M], their total []).
    """
    return mask, mask.sum()


def seq_mean_token_mean(mask, sample, *, max_length=0):
    """Every response weighs the same, 1/|y_i| a token: GRPO, arXiv:2402.03300, eq. 3.

    mask, sample: [N, M].  returns: (weights [N, M], responses with a scored token []).
    """
    length = _per_response(mask, sample)
    weight = mask / jnp.maximum(jnp.take_along_axis(length, sample, axis=1), 1)
    return weight, (length > 0).sum().astype(jnp.float32)


def seq_mean_token_sum_norm(mask, sample, *, max_length):
    """Every token weighs 1/L_max, the mean is over responses: Dr.GRPO, arXiv:2503.20783.

    max_length: L_max, the same for all batches.
    mask, sample: [N, M].  returns: (weights [N, M], responses with a scored token []).
    """
    length = _per_response(mask, sample)
    return mask / max_length, (length > 0).sum().astype(jnp.float32)


AGGREGATIONS = {
    "token_mean": token_mean,
    "seq_mean_token_mean": seq_mean_token_mean,
    "seq_mean_token_sum_norm": seq_mean_token_sum_norm,
}


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


def _log_ratio(logp, old_logp, mask):
    # where, not a product: 0 · NaN is NaN, and so would be the gradient.
    difference = jnp.where(mask > 0, logp - old_logp, 0)
    return jnp.clip(difference, -LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)


def _mean_log_ratio(logp, old_logp, mask, sample):
    """1/|y_i| Σ_t log ρ_t at every token of response i; 0 where mask is 0."""
    length = jnp.maximum(_per_response(mask, sample), 1)
    mean = _per_response(_log_ratio(logp, old_logp, mask), sample) / length
    return jnp.where(mask > 0, jnp.take_along_axis(mean, sample, axis=1), 0)


def _per_response(x, sample):
    """Sums over each response of a row: [N, M] -> [N, M], the second M counts responses."""
    return jax.vmap(lambda x, s: jax.ops.segment_sum(x, s, x.shape[0]))(x, sample)
