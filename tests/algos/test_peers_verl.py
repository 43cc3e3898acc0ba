"""Estimators and objectives against verl's own code, set as verl sets its own."""

import types

import jax
import numpy as np
import pytest

from jaxrl.algos import estimators, objectives
from jaxrl.records import Rows, Signals
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


CLIP = {"clip_ratio": 0.2, "clip_ratio_low": 0.1, "clip_ratio_high": 0.3}
NEAR = {"clip_ratio": 0.2, "clip_ratio_low": 0.05, "clip_ratio_high": 0.1, "clip_ratio_c": 1.5}
BY_RESPONSE = {"average": "seq-mean-token-mean"}
LOSSES = {  # our settings; verl's name and settings
    "ppo_clip": ({"dual_clip": 1.5}, "vanilla", CLIP | {"clip_ratio_c": 1.5}),
    "gspo": ({}, "gspo", CLIP | BY_RESPONSE),
    "cispo": ({}, "cispo", CLIP),
    "gpg": ({}, "gpg", {}),
    "sapo": ({}, "sapo", {"tau_pos": 1.0, "tau_neg": 1.05}),
    "gmpo": ({}, "geo_mean", CLIP),
    "dppo_tv": ({"max_ratio": 1.5}, "dppo_tv", NEAR),
    "dppo_kl": ({"max_ratio": 1.5}, "dppo_kl", NEAR),
    "dro": ({}, "dro", {"policy_loss": types.SimpleNamespace(dro_beta=0.1)}),
    "kl_cov": (
        {"cov_share": 0.2},
        "kl_cov",
        {"policy_loss": types.SimpleNamespace(kl_cov_ratio=0.2, ppo_kl_coef=1.0)},
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_gradients_are_verls(name):
    """One response a row, of 1 to 24 tokens; clip_cov is left out, as it draws its tokens."""
    ours, theirs, settings = LOSSES[name]
    bounds = {"eps_low": "clip_ratio_low", "eps_high": "clip_ratio_high"}
    taken = {k: settings[v] for k, v in bounds.items() if v in settings}
    c = objectives.ObjectiveConfig(name=name, **ours, **taken)
    rng = np.random.default_rng(2)
    N, M = 8, 24
    f32 = lambda x: np.asarray(x, np.float32)
    mask = f32(np.arange(M) < rng.integers(1, M + 1, (N, 1)))
    old = -rng.exponential(size=(N, M)) - 0.05
    logp, old = f32(np.minimum(old + 0.4 * rng.normal(size=(N, M)), -1e-2)), f32(old)
    adv = f32(np.repeat(rng.normal(size=(N, 1)), M, 1))
    ids = np.zeros((N, M), np.int32)
    unread = dict.fromkeys(("tokens", "position", "lo", "hi", "slot", "parent", "group"), ids)
    given = dict(mask=mask, sample=ids, adv=adv * mask, old_logp=old, ref_logp=old)
    rows = Rows(**given, sampler_logp=old, prepared=0 * mask, **unread)
    if prepare := objectives.prepare(c):
        rows = rows.replace(prepared=prepare(logp, 0 * logp, rows))

    def loss(logp):
        total, stats = objectives.OBJECTIVES[name](logp, 0 * logp, rows, c)
        return total / stats["weight"]

    got, slope = jax.value_and_grad(loss)(logp)
    want, gradient = peers_verl.loss(theirs, logp, old, adv, mask, **settings)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(slope, gradient, rtol=1e-4, atol=1e-6)
