import jax
import numpy as np
import oracles
import pytest
from loss_rows import M, N, rows

from jaxrl.ops import ratios

token = jax.jit(ratios.token_ratio)
sequence = jax.jit(ratios.sequence_ratio)
sequence_token = jax.jit(ratios.sequence_token_ratio)


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
