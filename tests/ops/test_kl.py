import jax
import jax.numpy as jnp
import numpy as np
import oracles_losses
import pytest
from loss_rows import rows

from jaxrl.ops.kl import KL_FORMS, kl


@pytest.mark.parametrize("form", list(KL_FORMS))
def test_kl_matches_the_formula(form):
    logp, ref_logp, mask, _ = rows(0)
    got = np.asarray(jax.jit(kl, static_argnames="form")(logp, ref_logp, mask, form=form))
    assert (got[mask == 0] == 0).all()
    for at in zip(*np.nonzero(mask), strict=True):
        want = oracles_losses.kl(float(logp[at]), float(ref_logp[at]), form)
        np.testing.assert_allclose(got[at], want, rtol=1e-4, atol=1e-6)
    if not form.startswith("k1"):
        assert (got >= 0).all()


def test_kl_estimates_and_their_gradients_in_the_mean():
    """Exact expectations over a small vocabulary, which is what the docstring promises."""
    rng = np.random.default_rng(0)
    logits, reference = jnp.asarray(rng.normal(size=(2, 1, 7)), jnp.float32)
    log_pi, log_ref = jax.nn.log_softmax(logits), jax.nn.log_softmax(reference)
    pi, ones = jnp.exp(log_pi), jnp.ones((1, 7))
    divergence = lambda p, q: (jnp.exp(p) * (p - q)).sum()
    mean = lambda form: (pi * kl(log_pi, log_ref, ones, form)).sum()
    for form in ("k1", "k3"):
        np.testing.assert_allclose(mean(form), divergence(log_pi, log_ref), rtol=1e-5)

    def slope(form):  # the sampling law is held fixed, as in a loss on samples
        f = lambda x: (pi * kl(jax.nn.log_softmax(x), log_ref, ones, form)).sum()
        return jax.grad(f)(logits)

    forward = jax.grad(lambda x: divergence(jax.nn.log_softmax(x), log_ref))(logits)
    reverse = jax.grad(lambda x: divergence(log_ref, jax.nn.log_softmax(x)))(logits)
    np.testing.assert_allclose(slope("k1"), 0 * forward, atol=1e-6)
    np.testing.assert_allclose(slope("k2"), forward, atol=1e-6)
    np.testing.assert_allclose(slope("k3"), reverse, atol=1e-6)


@pytest.mark.parametrize("form", ["k1+", "abs+", "k3+"])
def test_straight_through_forms_have_the_gradient_of_k2(form):
    logp, ref_logp, mask, _ = rows(1)
    slope = lambda form: jax.grad(lambda x: kl(x, ref_logp, mask, form).sum())(logp)
    got = np.asarray(slope(form))
    np.testing.assert_allclose(got, slope("k2"), rtol=1e-6)
    assert (got[mask == 0] == 0).all()


def test_the_log_ratio_is_limited_without_a_gradient_beyond():
    logp, ref_logp = jnp.float32([[-1.0, -1.0]]), jnp.float32([[-9.0, -1.5]])
    f = lambda x: kl(x, ref_logp, jnp.ones((1, 2)), "k1", limit=2.0)
    np.testing.assert_allclose(f(logp), [[2.0, 0.5]])
    np.testing.assert_allclose(jax.grad(lambda x: f(x).sum())(logp), [[0.0, 1.0]])
