"""The judge without a model: its errors have the size and the kind asked for, and repeat."""

import asyncio

import numpy as np
import pytest

from jaxrl.rewards import comparisons, programmatic
from jaxrl.rewards.programmatic import Contestant, Noise

A, B = Contestant("a", 1.5), Contestant("b", 1.0)
MANY = [(Contestant(f"{k}a", 1.5), Contestant(f"{k}b", 1.0)) for k in range(2000)]


def compare(noise, matches, attempt=0):
    return asyncio.run(programmatic.compare(noise, matches, attempt))


def test_without_noise_scores_are_the_truth_twice():
    got = compare(Noise(0), [(A, B), (B, A)])
    np.testing.assert_array_equal(got.scores, [[3, 2], [2, 3]])
    assert got.counts["calls"] == 4 and got.counts["comparisons"] == 2


def test_a_call_depends_on_seed_pair_order_and_attempt_alone():
    """Not on the batch it is judged in: a resumed run, or another mesh, gets the same scores."""
    noise = Noise(3, sigma=1.0, shared=0.5)
    alone = compare(noise, [(A, B)]).calls[0]
    beside = compare(noise, [MANY[0], (B, A), (A, B)]).calls
    np.testing.assert_array_equal(beside[2], alone)
    np.testing.assert_array_equal(beside[1], alone[::-1, ::-1])  # the same two calls
    assert (alone[0] != alone[1]).all()  # an order is a call of its own
    assert (compare(noise, [(A, B)], attempt=1).calls[0] != alone).all()
    assert (compare(Noise(4, sigma=1.0, shared=0.5), [(A, B)]).calls[0] != alone).all()


def test_the_noise_has_its_size_and_its_share():
    """σ² in all, of which `shared` is the call's own leniency and cancels in a difference."""
    for shared in (0.0, 0.75):
        calls = compare(Noise(0, sigma=2.0, shared=shared), MANY).calls
        errors = (calls - [1.5, 1.0]).reshape(-1, 2)
        np.testing.assert_allclose(errors.std(0), 2, rtol=0.06)
        np.testing.assert_allclose(errors.mean(0), 0, atol=0.15)
        np.testing.assert_allclose(np.corrcoef(errors.T)[0, 1], shared, atol=0.06)
        apart = (errors[:, 0] - errors[:, 1]).std()
        np.testing.assert_allclose(apart, 2 * np.sqrt(2 * (1 - shared)), rtol=0.06)


def test_position_bias_shows_in_the_counts_and_cancels_in_the_sum():
    got = compare(Noise(0, bias=1.0), [(A, B), (B, A)])
    np.testing.assert_array_equal(got.scores, [[4, 3], [3, 4]])
    assert comparisons.metrics(got.counts)["judge/first_wins"] == 1
    fair = comparisons.metrics(compare(Noise(0, sigma=5.0), MANY).counts)
    assert abs(fair["judge/first_wins"] - 0.5) < 0.03


def test_a_pointwise_call_has_no_position_and_errs_anew_by_attempt():
    score = lambda noise, xs, n: asyncio.run(programmatic.score(noise, xs, n))
    assert score(Noise(0, bias=1.0), [A, B], [0, 0]).scores.tolist() == [1.5, 1.0]
    noisy = score(Noise(0, sigma=1.0, shared=0.5), [A] * 2000, range(2000))
    assert len(set(noisy.scores)) == 2000 and noisy.counts["calls"] == 2000
    np.testing.assert_allclose(noisy.scores.std(), 1, rtol=0.06)


@pytest.mark.parametrize(
    "values", [{"sigma": -1}, {"sigma": float("nan")}, {"bias": float("inf")}, {"shared": 1.1}]
)
def test_senseless_noise_is_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        Noise(0, **values)


def test_a_utility_that_is_no_number_is_refused():
    """NaN would silently void the whole group's tournament."""
    with pytest.raises(ValueError, match=r"utility=nan of 'a'.*None"):
        compare(Noise(0), [(A._replace(utility=float("nan")), B)])
