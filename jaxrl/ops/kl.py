"""KL(π ‖ π_ref) from tokens sampled from π."""

import jax
import jax.numpy as jnp

from jaxrl.ops import ratios


def kl(logp, ref_logp, mask, form="k3", *, limit=ratios.LOG_RATIO_LIMIT):
    """KL(π ‖ π_ref) estimated from each token sampled from π.

        k1 = −log r,   abs = |log r|,   k2 = (log r)² / 2,   k3 = (r − 1) − log r,   r = π_ref / π

    Schulman 2020, http://joschu.net/blog/kl-approx.html; abs is no estimate of the KL, only a
    penalty. k1 and k3 are unbiased, all but k1 are ≥ 0. As a loss on samples of π: the gradient of
    k1 is 0 in the mean, that of k2 is ∇KL(π ‖ π_ref), that of k3 is ∇KL(π_ref ‖ π). Hence "k1+",
    "abs+", "k3+": that value, with the gradient of k2 (straight-through).

    limit: log r is kept in ±limit, without gradient beyond.
    logp, ref_logp, mask: [N, M] f32.  returns: [N, M] f32, 0 where mask is 0.
    """
    log_r = ratios.log_ratio(ref_logp, logp, mask, limit=limit)
    value = _FORMS[form.removesuffix("+")](log_r)
    if form.endswith("+"):
        sg, slope = jax.lax.stop_gradient, _FORMS["k2"](log_r)
        return sg(value) + (slope - sg(slope))
    return value


_FORMS = {
    "k1": lambda log_r: -log_r,
    "abs": ratios.absolute,
    "k2": lambda log_r: jnp.square(log_r) / 2,
    "k3": lambda log_r: jnp.expm1(log_r) - log_r,
}
KL_FORMS = ("k1", "abs", "k2", "k3", "k1+", "abs+", "k3+")
