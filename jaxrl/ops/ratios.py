"""Ratios of policies at sampled tokens, and the sums over responses that they need.

Arrays are [N, M] f32: N learner rows with M scored tokens each. A row holds several responses;
`sample` [N, M] int32 tells them apart within the row and `mask` is 1 where a token counts. Where it
is 0, log-probs may be anything, NaN included.
"""

import jax
import jax.numpy as jnp

LOG_RATIO_LIMIT = 20.0  # exp of more has no use, and an inf here would be inf · 0 in the gradient


def token_ratio(logp, old_logp, mask):
    """ρ_t = π(y_t) / π_old(y_t).

    Schulman et al. 2017, arXiv:1707.06347, §3. The log-ratio is limited to ±20 (our choice).

    All [N, M] f32.  returns: [N, M] f32, 1 where mask is 0.
    """
    return jnp.exp(log_ratio(logp, old_logp, mask))


def sequence_ratio(logp, old_logp, mask, sample):
    """GSPO's ratio of a whole response, written at each of its tokens.

        s_i = (π(y_i) / π_old(y_i))^(1/|y_i|) = exp(1/|y_i| Σ_t log ρ_{i,t})

    Zheng et al. 2025, arXiv:2507.18071, eq. 7. Masked tokens count neither in Σ nor in |y_i|.

    All [N, M], sample int32.  returns: [N, M] f32, 1 where mask is 0.
    """
    return jnp.exp(response_mean(log_ratio(logp, old_logp, mask), mask, sample))


def sequence_token_ratio(logp, old_logp, mask, sample):
    """GSPO-token: the response's ratio as a value, the token's own log-prob in the gradient.

        s_{i,t} = sg[s_i] · π(y_{i,t}) / sg[π(y_{i,t})]

    Zheng et al. 2025, arXiv:2507.18071, eq. 14: advantages may then differ from token to token.

    All [N, M], sample int32.  returns: [N, M] f32, 1 where mask is 0.
    """
    log_s = response_mean(log_ratio(logp, old_logp, mask), mask, sample)
    own = jnp.where(mask > 0, logp, 0)
    sg = jax.lax.stop_gradient
    return jnp.exp(sg(log_s) + (own - sg(own)))


def log_ratio(logp, old_logp, mask, *, limit=LOG_RATIO_LIMIT):
    """log π(y_t) − log π_old(y_t), limited to ±limit; no gradient beyond.

    All [N, M] f32.  returns: [N, M] f32, 0 where mask is 0.
    """
    # where, not a product: 0 · NaN is NaN, and so would be the gradient.
    return jnp.clip(jnp.where(mask > 0, logp - old_logp, 0), -limit, limit)


def absolute(x):
    """|x| with slope 0 at 0. That of jnp.abs is 1: a push where nothing has moved yet."""
    return x * jax.lax.stop_gradient(jnp.sign(x))


def response_sum(x, mask, ids):
    """Σ_t x_t of each response (or of whatever `ids` [N, M] int32 counts), at each of its tokens.

    All [N, M]; x finite.  returns: [N, M] f32, 0 where mask is 0.
    """
    total = segment_sum(mask * x, ids)
    return jnp.where(mask > 0, jnp.take_along_axis(total, ids, axis=1), 0)


def response_mean(x, mask, ids):
    """1/|y_i| Σ_t x_t, as in `response_sum`."""
    return response_sum(x, mask, ids) / jnp.maximum(response_sum(jnp.ones_like(x), mask, ids), 1)


def segment_sum(x, ids):
    """Sums by id within each row: x [N, M], ids [N, M] int32 in [0, M) -> [N, M], second M = id."""
    return jax.vmap(lambda x, i: jax.ops.segment_sum(x, i, x.shape[0]))(x, ids)
