import jax
import numpy as np
import oracles_losses

from jaxrl.ops import selections


def test_covariance_matches_the_loop_and_ignores_what_is_masked():
    rng = np.random.default_rng(0)
    logp, adv = rng.normal(size=(2, 3, 8)).astype(np.float32)
    mask = (rng.random((3, 8)) < 0.6).astype(np.float32)
    got = np.asarray(jax.jit(selections.covariance)(logp, adv, mask))
    for at, want in oracles_losses.covariances(logp, adv, mask).items():
        np.testing.assert_allclose(got[at], want, rtol=1e-4, atol=1e-6)
    assert (got[mask == 0] == 0).all()


def test_top_takes_so_many_and_no_more():
    """Ties once let a whole batch through a quantile."""
    score = np.float32([[3, 1, 3], [3, np.nan, 2]])
    eligible = np.array([[True, True, True], [True, False, True]])
    got = jax.jit(selections.top)(score, eligible, 2.0)
    np.testing.assert_array_equal(got, [[1, 0, 1], [0, 0, 0]])
    np.testing.assert_array_equal(selections.top(score, eligible, 9), eligible)


def test_draws_follow_the_batch_alone():
    tokens, like = np.arange(12).reshape(3, 4), np.zeros((2, 5), np.float32)
    first = np.asarray(selections.draws(tokens, like))
    np.testing.assert_array_equal(first, selections.draws(tokens.reshape(2, 6), like))
    np.testing.assert_array_equal(
        first.reshape(-1), np.asarray(selections.draws(tokens, like.reshape(5, 2))).reshape(-1)
    )
    assert (first != selections.draws(tokens + 1, like)).all()
    assert ((0 <= first) & (first < 1)).all() and len(set(first.ravel())) == 10
