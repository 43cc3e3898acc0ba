"""The estimators against verl's own code, with the knobs that STYLES gives for it."""

import numpy as np
import pytest

from jaxrl.algos import estimators
from jaxrl.records import Signals
from launch.benches import peers_verl

pytestmark = pytest.mark.peers
SAME = {"gae": {"whiten": True}, "gpg": {"gpg_counts": "rewards"}}  # as verl always does


@pytest.fixture(scope="module")
def signals():
    """Ragged groups of 2 to 9 in random order; responses of 1 to 24 tokens."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(2, 10, 16)
    B, T = sizes.sum(), 24
    f32 = lambda *shape: rng.random(shape, np.float32)
    length = rng.integers(1, T + 1, B).astype(np.int32)
    return Signals(
        rewards=f32(B),
        group=rng.permutation(np.repeat(np.arange(16, dtype=np.int32), sizes)),
        num_groups=16,
        length=length,
        mask=np.arange(T) < length[:, None],
        parts=f32(B, 3),
        greedy=f32(B),
        values=f32(B, T),
        logp=-f32(B, T),
        squares=f32(B, T),
    )


@pytest.mark.parametrize("name", peers_verl.NAMES)
def test_advantages_are_verls(name, signals):
    line, options = estimators.ESTIMATORS[name], SAME.get(name, {})
    style = {"style": "verl"} if "style" in line.takes else {}
    c = estimators.EstimatorConfig(name=name, **style, **options)
    got = np.asarray(estimators.estimate(signals, c))
    got = got if got.ndim == 2 else got[:, None]
    want = peers_verl.estimator(name, signals)()
    # verl adds 1e-8 to a whitening variance, we 1e-6 to its root: some 1e-5 of the advantage.
    np.testing.assert_allclose(got * signals.mask, want * signals.mask, rtol=5e-5, atol=5e-5)


def test_turns_are_joined_as_verl_joins_them(signals):
    """Responses with tokens of the environment in between: only the chosen ones count."""
    mask = np.random.default_rng(1).random(signals.mask.shape) < 0.7
    mask[:, 0] = True
    turns = signals.replace(mask=mask, length=mask.sum(1).astype(np.int32))
    name = "tir_optimal_token_baseline"
    c = estimators.EstimatorConfig(name=name, style="verl")
    want = peers_verl.estimator(name, turns)()
    np.testing.assert_allclose(np.asarray(estimators.estimate(turns, c)) * mask, want, atol=1e-5)
