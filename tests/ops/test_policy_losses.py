import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from loss_rows import M, N

from jaxrl.ops import policy_losses, ratios


@pytest.mark.parametrize(
    "eps_low, eps_high, dual_clip", [(0.2, 0.2, 0), (0.2, 0.28, 3), (0.1, 1, 1.5)]
)
def test_clipped_surrogate_matches_the_cases(eps_low, eps_high, dual_clip):
    rng = np.random.default_rng(0)
    ratio = np.exp(rng.normal(size=(N, M))).astype(np.float32)
    adv = rng.normal(size=(N, M)).astype(np.float32) * (rng.random((N, M)) < 0.9)
    knobs = dict(eps_low=eps_low, eps_high=eps_high, dual_clip=dual_clip)
    got = jax.jit(lambda r, a: policy_losses.clipped_surrogate(r, a, **knobs))(ratio, adv)
    want = oracles.surrogate(ratio, adv, **knobs)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-6)
    np.testing.assert_array_equal(got[1], want[1])
    slope = jax.grad(lambda r: policy_losses.clipped_surrogate(r, adv, **knobs)[0].sum())(ratio)
    np.testing.assert_allclose(slope, adv * (1 - want[1]), rtol=1e-6)


@pytest.mark.parametrize("adv", [1.0, -1.0])
def test_extreme_ratios_keep_gradients_finite(adv):
    """exp overflows where the clip holds the value, and 0 · inf came back as a NaN gradient."""
    logp, old_logp = jnp.float32([[-1.0, -300.0]]), jnp.float32([[-300.0, -1.0]])

    def loss(x):
        ratio = ratios.token_ratio(x, old_logp, jnp.ones((1, 2)))
        return policy_losses.clipped_surrogate(ratio, adv, eps_low=0.2, eps_high=0.2)[0].sum()

    value, slope = jax.value_and_grad(loss)(logp)
    assert np.isfinite(value) and np.isfinite(slope).all()


def test_overlong_penalty():
    length = np.arange(0, 30, dtype=np.int32)
    knobs = dict(max_length=20, buffer=8, factor=0.5)
    got = jax.jit(lambda x: policy_losses.overlong_penalty(x, **knobs))(length)
    np.testing.assert_allclose(got, [oracles.overlong(n, **knobs) for n in length], atol=1e-7)
    for buffer in (0, 21):
        with pytest.raises(ValueError, match=f"buffer={buffer}.*20"):
            policy_losses.overlong_penalty(length, max_length=20, buffer=buffer)
