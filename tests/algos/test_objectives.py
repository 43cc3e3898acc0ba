import functools

import jax
import numpy as np
import oracles
import pytest

from jaxrl import records
from jaxrl.algos import objectives
from jaxrl.algos.objectives import ObjectiveConfig

N, M = 4, 24


def batch(seed):
    """(logp, entropy, the scored fields of Rows); junk under the mask of what the model gives."""
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.integers(0, 4, (N, M)), axis=1).astype(np.int32)
    mask = (rng.random((N, M)) < 0.7).astype(np.float32)
    logp = (-rng.exponential(size=(N, M))).astype(np.float32)
    near = lambda: (mask * (logp + 0.4 * rng.normal(size=(N, M)))).astype(np.float32)
    fields = dict(
        mask=mask, sample=sample * mask.astype(np.int32), old_logp=near(), ref_logp=near()
    )
    fields["adv"] = mask * rng.normal(size=(N, M)).astype(np.float32)
    junk = rng.choice(np.float32([np.nan, np.inf, -np.inf]), (N, M))
    entropy = rng.exponential(size=(N, M)).astype(np.float32)
    return np.where(mask > 0, logp, junk), np.where(mask > 0, entropy, junk), fields


def rows(fields, at=slice(None)):
    empty = np.zeros((N, M), np.int32)
    names = ("tokens", "position", "lo", "hi", "slot", "parent")
    return jax.tree.map(lambda x: x[at], records.Rows(**fields, **{k: empty for k in names}))


@functools.partial(jax.jit, static_argnums=3)
def objective(logp, entropy, rows, c):
    f = lambda logp, entropy: objectives.OBJECTIVES[c.name](logp, entropy, rows, c)
    return jax.value_and_grad(f, argnums=(0, 1), has_aux=True)(logp, entropy)


GSPO = dict(name="gspo", aggregation="seq_mean_token_mean", eps_low=0.02, eps_high=0.03)
CONFIGS = {
    "grpo": ObjectiveConfig(aggregation="seq_mean_token_mean", kl_coef=0.04),
    "dapo": ObjectiveConfig(eps_high=0.28, dual_clip=1.5, entropy_coef=0.01),
    "dr_grpo": ObjectiveConfig(
        aggregation="seq_mean_token_sum_norm", max_length=64, kl_coef=0.1, kl_form="k2"
    ),
    "gspo": ObjectiveConfig(ratio="sequence", **GSPO),
    "gspo_token": ObjectiveConfig(ratio="sequence_token", **GSPO),
    "sft": ObjectiveConfig(name="sft"),
}
CLIPPED = [k for k in CONFIGS if k != "sft"]


@pytest.mark.parametrize("name", CLIPPED)
def test_ppo_matches_the_loop(name):
    for seed in range(3):
        logp, entropy, fields = batch(seed)
        (total, stats), _ = objective(logp, entropy, rows(fields), CONFIGS[name])
        want = oracles.ppo(logp, entropy, fields, CONFIGS[name])
        np.testing.assert_allclose(total / stats["weight"], want, rtol=1e-4, atol=1e-6)


def test_sft_is_the_mean_negative_log_likelihood():
    """Advantages and old log-probs are not read: NaN there must not show."""
    logp, entropy, fields = batch(0)
    fields = fields | {
        k: np.full((N, M), np.nan, np.float32) for k in ("adv", "old_logp", "ref_logp")
    }
    (total, stats), (slope, _) = objective(logp, entropy, rows(fields), CONFIGS["sft"])
    on = fields["mask"] > 0
    np.testing.assert_allclose(total / stats["weight"], -logp[on].mean(), rtol=1e-5)
    np.testing.assert_array_equal(slope, -fields["mask"])


@pytest.mark.parametrize("name", list(CONFIGS))
def test_gradients_are_finite_and_zero_under_the_mask(name):
    """Prompt and pad positions hold whatever the head gives; once a NaN there killed the run."""
    logp, entropy, fields = batch(1)
    (total, stats), slopes = objective(logp, entropy, rows(fields), CONFIGS[name])
    assert all(np.isfinite(x) for x in (total, *stats.values()))
    for slope in slopes:
        assert np.isfinite(slope).all()
        assert (np.asarray(slope)[fields["mask"] == 0] == 0).all()
    assert (np.asarray(slopes[0]) != 0).any()


@pytest.mark.parametrize("name", list(CONFIGS))
def test_micro_batches_add_up(name):
    """Sums, statistics and gradients; a division inside the loss would show here."""
    logp, entropy, fields = batch(2)
    whole = objective(logp, entropy, rows(fields), CONFIGS[name])
    parts = [slice(0, 1), slice(1, 4)]  # uneven on purpose
    split = [objective(logp[p], entropy[p], rows(fields, p), CONFIGS[name]) for p in parts]
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
    jax.tree.map(lambda w, *s: close(sum(s), w), whole[0], *(s[0] for s in split))
    jax.tree.map(lambda w, *s: close(np.concatenate(s), w), whole[1], *(s[1] for s in split))


@pytest.mark.parametrize("name", list(CONFIGS))
def test_statistics_are_averages_under_every_aggregation(name):
    """A constant entropy reads as that constant, also where the loss weighs a token by 1/L_max."""
    logp, entropy, fields = batch(0)
    _, stats = objective(logp, np.full_like(entropy, 0.7), rows(fields), CONFIGS[name])[0]
    np.testing.assert_allclose(stats["policy/entropy"] / stats["weight"], 0.7, rtol=1e-5)
    assert ("policy/ref_kl" in stats) == (CONFIGS[name].kl_coef > 0)
    if name != "sft":
        assert 0 < stats["policy/clip_fraction"] / stats["weight"] < 1
        assert stats["policy/kl"] > 0


@pytest.mark.parametrize("name", CLIPPED)
def test_on_policy_nothing_is_clipped_and_the_loss_is_minus_the_advantage(name):
    logp, _, fields = batch(0)
    c = CONFIGS[name]
    fields["old_logp"] = np.where(fields["mask"] > 0, logp, 0)
    fields["ref_logp"] = fields["old_logp"]
    (total, stats), _ = objective(logp, np.zeros((N, M), np.float32), rows(fields), c)
    want = oracles.aggregate(
        -fields["adv"], fields["mask"], fields["sample"], c.aggregation, c.max_length
    )
    np.testing.assert_allclose(total / stats["weight"], want, rtol=1e-4, atol=1e-6)
    assert stats["policy/clip_fraction"] == 0 and stats["policy/kl"] == 0


def test_a_batch_without_scored_tokens_sums_to_zero():
    """All groups dropped: the step divides by max(weight, 1), so all must be clean zeros."""
    fields = {k: 0 * v for k, v in batch(0)[2].items()}
    junk = np.full((N, M), np.nan, np.float32)
    for c in CONFIGS.values():
        result = objective(junk, junk, rows(fields), c)
        assert all((np.asarray(x) == 0).all() for x in jax.tree.leaves(result))


@pytest.mark.parametrize(
    "bad, error, message",
    [
        (dict(name="ppo"), KeyError, "loss.name='ppo'.*ppo_clip, gspo, sft"),
        (dict(eps_low=0.0), ValueError, "loss.eps_low=0.0: give in"),
        (dict(eps_high=-0.1), ValueError, "loss.eps_high=-0.1"),
        (dict(eps_high=float("nan")), ValueError, "loss.eps_high=nan"),
        (dict(dual_clip=0.5), ValueError, "loss.dual_clip=0.5.*above 1"),
        (dict(ratio="seq"), ValueError, "loss.ratio='seq'.*token, sequence, sequence_token"),
        (dict(aggregation="mean"), ValueError, "loss.aggregation='mean'.*token_mean"),
        (dict(aggregation="seq_mean_token_sum_norm"), ValueError, "loss.max_length=0.*longest"),
        (dict(kl_coef=-1.0), ValueError, "loss.kl_coef=-1.0"),
        (dict(kl_form="k4"), ValueError, "loss.kl_form='k4'.*k1, k2, k3"),
        (dict(entropy_coef=-1.0), ValueError, "loss.entropy_coef=-1.0"),
        (dict(name="gspo"), ValueError, "loss.ratio='token'.*sequence or sequence_token"),
    ],
)
def test_bad_values_name_key_value_and_fix(bad, error, message):
    with pytest.raises(error, match=message):
        ObjectiveConfig(**bad)
