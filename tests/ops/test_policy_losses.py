import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jaxrl.ops import policy_losses

N, M = 4, 24


def rows(seed, scale=0.5):
    """Ragged responses side by side in each row, holes in the mask, NaN and inf under it."""
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.integers(0, rng.integers(1, 6), (N, M)), axis=1).astype(np.int32)
    mask = (rng.random((N, M)) < 0.7).astype(np.float32)
    mask[:, -3:] = 0
    sample[:, -3:] = 0  # padding looks like response 0
    if seed % 2:
        mask[-1] = 0  # a row of padding alone
    logp = (-rng.exponential(size=(N, M))).astype(np.float32)
    old_logp = (logp + scale * rng.normal(size=(N, M))).astype(np.float32)
    junk = rng.choice(np.float32([np.nan, np.inf, -np.inf, 1e30]), (N, M))
    return np.where(mask > 0, logp, junk), np.where(mask > 0, old_logp, junk[::-1]), mask, sample


token = jax.jit(policy_losses.token_ratio)
sequence = jax.jit(policy_losses.sequence_ratio)
sequence_token = jax.jit(policy_losses.sequence_token_ratio)


@pytest.mark.parametrize("seed", range(4))
def test_ratios_match_the_loop(seed):
    logp, old_logp, mask, sample = rows(seed)
    with np.errstate(invalid="ignore", over="ignore"):
        want = np.where(mask > 0, np.exp(logp.astype(np.float64) - old_logp), 1)
    np.testing.assert_allclose(token(logp, old_logp, mask), want, rtol=1e-5)
    want = oracles.sequence_ratio(logp, old_logp, mask, sample)
    np.testing.assert_allclose(sequence(logp, old_logp, mask, sample), want, rtol=1e-5)
    np.testing.assert_allclose(sequence_token(logp, old_logp, mask, sample), want, rtol=1e-5)


def test_equal_log_probs_have_ratio_one():
    """On the first update of a batch every ratio is 1, so a clip of 3e-4 must not bite."""
    logp, _, mask, sample = rows(0)
    for ratio in (sequence, sequence_token):
        assert (np.asarray(ratio(logp, logp, mask, sample)) == 1).all()
    assert (np.asarray(token(logp, logp, mask)) == 1).all()


def test_responses_in_a_row_do_not_mix():
    logp, old_logp, mask, sample = rows(0)
    moved = np.where(sample == sample[0, 0], logp - 1, logp)
    before, after = (np.asarray(sequence(x, old_logp, mask, sample)) for x in (logp, moved))
    other = (sample != sample[0, 0]) & (mask > 0)
    assert other.any()
    np.testing.assert_array_equal(before[other], after[other])


def test_gradients_of_the_two_sequence_ratios():
    """∂s_i/∂logp_t = s_i/|y_i| at every token of i; in the token form s_i at t, 0 elsewhere."""
    logp, old_logp, mask, sample = rows(0)
    rng = np.random.default_rng(1)
    cotangent = rng.normal(size=(N, M)).astype(np.float32)
    s = oracles.sequence_ratio(logp, old_logp, mask, sample)
    spread = np.zeros((N, M))
    for (n, _), columns in oracles.responses(mask, sample).items():
        spread[n, columns] = (cotangent * s)[n, columns].sum() / len(columns)
    pull = lambda f: jax.grad(lambda x: (cotangent * f(x, old_logp, mask, sample)).sum())(logp)
    np.testing.assert_allclose(pull(sequence), spread, rtol=1e-4, atol=1e-5)
    want = np.where(mask > 0, cotangent * s, 0)
    np.testing.assert_allclose(pull(sequence_token), want, rtol=1e-5, atol=1e-6)


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
        ratio = policy_losses.token_ratio(x, old_logp, jnp.ones((1, 2)))
        return policy_losses.clipped_surrogate(ratio, adv, eps_low=0.2, eps_high=0.2)[0].sum()

    value, slope = jax.value_and_grad(loss)(logp)
    assert np.isfinite(value) and np.isfinite(slope).all()


@pytest.mark.parametrize("form", list(policy_losses.KL_FORMS))
def test_kl_matches_the_formula(form):
    logp, ref_logp, mask, _ = rows(0)
    got = np.asarray(
        jax.jit(policy_losses.kl, static_argnames="form")(logp, ref_logp, mask, form=form)
    )
    assert (got[mask == 0] == 0).all()
    for at in zip(*np.nonzero(mask), strict=True):
        want = oracles.kl(float(logp[at]), float(ref_logp[at]), form)
        np.testing.assert_allclose(got[at], want, rtol=1e-4, atol=1e-6)
    if form != "k1":
        assert (got >= 0).all()


def test_kl_estimates_and_their_gradients_in_the_mean():
    """Exact expectations over a small vocabulary, which is what the docstring promises."""
    rng = np.random.default_rng(0)
    logits, reference = jnp.asarray(rng.normal(size=(2, 1, 7)), jnp.float32)
    log_pi, log_ref = jax.nn.log_softmax(logits), jax.nn.log_softmax(reference)
    pi, ones = jnp.exp(log_pi), jnp.ones((1, 7))
    divergence = lambda p, q: (jnp.exp(p) * (p - q)).sum()
    mean = lambda form: (pi * policy_losses.kl(log_pi, log_ref, ones, form)).sum()
    for form in ("k1", "k3"):
        np.testing.assert_allclose(mean(form), divergence(log_pi, log_ref), rtol=1e-5)

    def slope(form):  # the sampling law is held fixed, as in a loss on samples
        f = lambda x: (pi * policy_losses.kl(jax.nn.log_softmax(x), log_ref, ones, form)).sum()
        return jax.grad(f)(logits)

    forward = jax.grad(lambda x: divergence(jax.nn.log_softmax(x), log_ref))(logits)
    reverse = jax.grad(lambda x: divergence(log_ref, jax.nn.log_softmax(x)))(logits)
    np.testing.assert_allclose(slope("k1"), 0 * forward, atol=1e-6)
    np.testing.assert_allclose(slope("k2"), forward, atol=1e-6)
    np.testing.assert_allclose(slope("k3"), reverse, atol=1e-6)


@pytest.mark.parametrize("name", list(policy_losses.AGGREGATIONS))
def test_aggregation_is_the_mean_of_the_paper_and_splits(name):
    """Weights and totals of micro-batches add up to those of the whole batch."""
    f = jax.jit(lambda m, s: policy_losses.AGGREGATIONS[name](m, s, max_length=16))
    for seed in range(4):
        _, _, mask, sample = rows(seed)
        x = np.random.default_rng(seed).normal(size=(N, M)).astype(np.float32)
        weight, total = f(mask, sample)
        want = oracles.aggregate(x, mask, sample, name, 16)
        np.testing.assert_allclose((weight * x).sum() / total, want, rtol=1e-4, atol=1e-6)
        assert (np.asarray(weight)[mask == 0] == 0).all()
        halves = [f(mask[i : i + 2], sample[i : i + 2]) for i in (0, 2)]
        np.testing.assert_allclose(sum(t for _, t in halves), total)
        np.testing.assert_allclose(np.concatenate([w for w, _ in halves]), weight)


def test_overlong_penalty():
    length = np.arange(0, 30, dtype=np.int32)
    knobs = dict(max_length=20, buffer=8, factor=0.5)
    got = jax.jit(lambda x: policy_losses.overlong_penalty(x, **knobs))(length)
    np.testing.assert_allclose(got, [oracles.overlong(n, **knobs) for n in length], atol=1e-7)
    for buffer in (0, 21):
        with pytest.raises(ValueError, match=f"buffer={buffer}.*20"):
            policy_losses.overlong_penalty(length, max_length=20, buffer=buffer)
