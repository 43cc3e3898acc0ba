"""Every objective: its oracle, its gradients, its sums over micro-batches, what it refuses."""

import functools

import jax
import numpy as np
import oracles
import oracles_losses
import pytest

from configs import base
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
    near = lambda: (mask * np.minimum(logp + 0.4 * rng.normal(size=(N, M)), -1e-3)).astype(
        np.float32
    )
    sample = sample * mask.astype(np.int32)
    fields = dict(mask=mask, sample=sample, group=sample // 2, old_logp=near(), ref_logp=near())
    fields["adv"] = mask * rng.normal(size=(N, M)).astype(np.float32)
    fields["sampler_logp"], fields["prepared"] = near(), np.zeros((N, M), np.float32)
    junk = rng.choice(np.float32([np.nan, np.inf, -np.inf]), (N, M))
    entropy = rng.exponential(size=(N, M)).astype(np.float32)
    return np.where(mask > 0, logp, junk), np.where(mask > 0, entropy, junk), fields


def rows(fields):
    empty = np.zeros((N, M), np.int32)
    names = ("tokens", "position", "lo", "hi", "slot", "parent")
    return records.Rows(**fields, **{k: empty for k in names})


@functools.partial(jax.jit, static_argnums=3)
def objective(logp, entropy, rows, c):
    f = lambda logp, entropy: objectives.OBJECTIVES[c.name](logp, entropy, rows, c)
    return jax.value_and_grad(f, argnums=(0, 1), has_aux=True)(logp, entropy)


def prepared(logp, entropy, fields, c):
    """The fields with what the objective needs of the whole batch."""
    made = objectives.prepare(c)
    if made is None:
        return fields
    return fields | {"prepared": np.asarray(made(logp, entropy, rows(fields)))}


def divisor(stats):
    return max(stats["divisor"] if "divisor" in stats else stats["weight"], 1)


GSPO = dict(name="gspo", eps_low=0.02, eps_high=0.03)
CONFIGS = {
    "grpo": ObjectiveConfig(aggregation="seq_mean_token_mean", kl_coef=0.04),
    "ppo_clip": ObjectiveConfig(eps_high=0.28, dual_clip=1.5, entropy_coef=0.01),
    "token_sum": ObjectiveConfig(aggregation="token_sum"),
    "prompt_mean": ObjectiveConfig(aggregation="prompt_mean", kl_coef=0.1, kl_form="abs"),
    "group_mean": ObjectiveConfig(aggregation="group_mean", kl_coef=0.1, kl_form="k1+"),
    "seq_sum": ObjectiveConfig(aggregation="seq_mean_token_sum", kl_coef=0.1, kl_limit=0.3),
    "dapo": ObjectiveConfig(name="dapo"),
    "bnpo": ObjectiveConfig(name="bnpo"),
    "dr_grpo": ObjectiveConfig(name="dr_grpo", max_length=64, kl_coef=0.1, kl_form="k2"),
    "gspo": ObjectiveConfig(**GSPO),
    "gspo_token": ObjectiveConfig(ratio="sequence_token", **GSPO),
    "two_sided_clip": ObjectiveConfig(name="two_sided_clip", delta=1.4),
    "decoupled_ppo": ObjectiveConfig(name="decoupled_ppo"),
    "cispo": ObjectiveConfig(name="cispo", eps_high=0.4),
    "cispo_verl": ObjectiveConfig(name="cispo", eps_low=0.2, eps_high=0.2),
    "gpg": ObjectiveConfig(name="gpg"),
    "sapo": ObjectiveConfig(name="sapo"),
    "gmpo": ObjectiveConfig(name="gmpo"),
    "clip_cov": ObjectiveConfig(name="clip_cov", cov_share=0.2, cov_low=-0.5),
    "kl_cov": ObjectiveConfig(name="kl_cov", cov_share=0.2),
    "dppo_tv": ObjectiveConfig(name="dppo_tv", eps_low=0.05, eps_high=0.1, max_ratio=1.5),
    "dppo_kl": ObjectiveConfig(name="dppo_kl", eps_low=0.02, eps_high=0.04),
    "dro": ObjectiveConfig(name="dro"),
    "top_entropy": ObjectiveConfig(top_entropy=0.3, kl_coef=0.1),
    "tis_token": ObjectiveConfig(name="gpg", correction="tis_token", correction_high=1.2),
    "tis_sequence": ObjectiveConfig(correction="tis_sequence"),
    "icepop": ObjectiveConfig(
        name="sapo", correction="icepop", correction_low=0.8, correction_high=1.3
    ),
    "mask_sequence": ObjectiveConfig(
        correction="mask_sequence", correction_low=0.9, correction_high=1.1
    ),
    "off_policy_mask": ObjectiveConfig(
        name="cispo", eps_high=0.4, correction="off_policy_mask", correction_high=0.02
    ),
    "sft": ObjectiveConfig(name="sft"),
}
POLICIES = [k for k in CONFIGS if k != "sft"]
CLIPPED = ["grpo", "ppo_clip", "dapo", "bnpo", "dr_grpo", "gspo", "gspo_token", "two_sided_clip"]


def test_every_name_is_tried():
    assert {c.name for c in CONFIGS.values()} == set(objectives.OBJECTIVES)
    assert set(objectives.OPTIONS) == set(objectives.OBJECTIVES)
    assert {c.correction for c in CONFIGS.values()} - {None} == set(objectives.BOUNDS)
    assert set(objectives.BOUNDS) == set(objectives.CORRECTIONS)


@pytest.mark.parametrize("name", POLICIES)
def test_the_loss_matches_the_loop(name):
    c = CONFIGS[name]
    for seed in range(3):
        logp, entropy, fields = batch(seed)
        fields = prepared(logp, entropy, fields, c)
        (total, stats), _ = objective(logp, entropy, rows(fields), c)
        want = oracles_losses.policy(logp, entropy, fields, c)
        np.testing.assert_allclose(total / divisor(stats), want, rtol=1e-5, atol=1e-5)


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
    off = fields["mask"] == 0
    junk = {k: np.where(off, np.nan, fields[k]) for k in ("old_logp", "adv", "sampler_logp")}
    fields = prepared(logp, entropy, fields | junk, CONFIGS[name])
    (total, stats), slopes = objective(logp, entropy, rows(fields), CONFIGS[name])
    assert all(np.isfinite(x) for x in (total, *stats.values()))
    for slope in slopes:
        assert np.isfinite(slope).all()
        assert (np.asarray(slope)[off] == 0).all()
    assert (np.asarray(slopes[0]) != 0).any()


@pytest.mark.parametrize("name", list(CONFIGS))
def test_micro_batches_add_up(name):
    """Sums, statistics and gradients; a division inside the loss would show here, and so would a
    quantile of a part. The other rows of a part are padding."""
    c = CONFIGS[name]
    logp, entropy, fields = batch(2)
    fields = prepared(logp, entropy, fields, c)
    whole = objective(logp, entropy, rows(fields), c)
    split = []
    for part in ([0], [1, 2, 3]):  # uneven on purpose
        on = np.isin(np.arange(N), part)[:, None]
        alone = {k: np.where(on, x, np.zeros_like(x)) for k, x in fields.items()}
        split.append(objective(logp, entropy, rows(alone), c))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
    jax.tree.map(lambda w, *s: close(sum(s), w), whole, *split)


@pytest.mark.parametrize("name", list(CONFIGS))
def test_statistics_are_averages_under_every_aggregation(name):
    """A constant entropy reads as that constant, also where the loss weighs a token by 1/L_max."""
    c = CONFIGS[name]
    logp, entropy, fields = batch(0)
    fields = prepared(logp, entropy, fields, c)
    _, stats = objective(logp, np.full_like(entropy, 0.7), rows(fields), c)[0]
    mean = {k: x / stats["weight"] for k, x in stats.items()}
    np.testing.assert_allclose(mean["policy/entropy"], 0.7, rtol=1e-5)
    assert ("policy/ref_kl" in stats) == bool(c.kl_coef)
    assert ("correction/cut" in stats) == (c.correction not in (None, "none"))
    for key in ("policy/clip_fraction", "policy/selected", "correction/cut"):
        assert key not in mean or 0 < mean[key] < 1, key
    assert name == "sft" or stats["policy/kl"] > 0


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


@pytest.mark.parametrize("name", sorted(set(POLICIES) - {"top_entropy", "clip_cov", "token_sum"}))
def test_on_policy_all_gradients_are_those_of_the_policy_gradient(name):
    """Where nothing moved yet, each of them is the same step: w_t A_t, corrections aside."""
    c = CONFIGS[name]
    logp, entropy, fields = batch(3)
    sample = fields["sample"]
    per = np.random.default_rng(0).normal(size=(N, M)).astype(np.float32)
    fields["adv"] = fields["mask"] * np.take_along_axis(per, sample, 1)  # one a response
    for key in ("old_logp", "ref_logp", "sampler_logp"):
        fields[key] = np.where(fields["mask"] > 0, logp, 0)
    _, (slope, _) = objective(logp, entropy, rows(fields), c)
    weigh = objectives.AGGREGATIONS[c.aggregation]
    weight, _ = weigh(fields["mask"], sample, fields["group"], max_length=c.max_length)
    np.testing.assert_allclose(slope, -weight * fields["adv"], rtol=1e-4, atol=1e-6)


def test_the_dual_clip_is_the_two_sided_clip():
    """What INTELLECT-2 calls δ and Ye et al. c is one thing where δ > 1 + ε_high."""
    logp, entropy, fields = batch(0)
    dual = ObjectiveConfig(dual_clip=1.4)
    got = objective(logp, entropy, rows(fields), CONFIGS["two_sided_clip"])
    want = objective(logp, entropy, rows(fields), dual)
    jax.tree.map(np.testing.assert_array_equal, got, want)


def test_clip_cov_draws_among_the_tokens_it_may():
    c = CONFIGS["clip_cov"]
    logp, entropy, fields = batch(0)
    got = prepared(logp, entropy, fields, c)["prepared"]
    covariance = oracles_losses.covariances(logp, fields["adv"], fields["mask"])
    assert got.sum() == max(1, int(c.cov_share * fields["mask"].sum()))
    for at in zip(*np.nonzero(got), strict=True):
        rho, a = np.exp(logp[at] - fields["old_logp"][at]), fields["adv"][at]
        assert c.cov_low < covariance[at] < c.cov_high
        assert oracles_losses.ppo_token(rho, a, 0.2, 0.2) == rho * a
    other = prepared(logp, entropy, fields | {"adv": -fields["adv"]}, c)["prepared"]
    assert (got != other).any()


@pytest.mark.parametrize("name", ["clip_cov", "kl_cov", "top_entropy"])
def test_the_choice_of_tokens_is_of_the_whole_batch(name):
    """[C, N, M] of micro-batches gives what [N, M] gives."""
    c = CONFIGS[name]
    logp, entropy, fields = batch(1)
    want = prepared(logp, entropy, fields, c)["prepared"]
    split = lambda x: np.reshape(x, (2, 2, *np.shape(x)[1:]))
    got = objectives.prepare(c)(*map(split, (logp, entropy)), jax.tree.map(split, rows(fields)))
    np.testing.assert_array_equal(got, split(want))


def test_a_batch_without_scored_tokens_sums_to_zero():
    """All groups dropped: the step divides by max(weight, 1), so all must be clean zeros."""
    fields = {k: 0 * v for k, v in batch(0)[2].items()}
    junk = np.full((N, M), np.nan, np.float32)
    for c in CONFIGS.values():
        result = objective(junk, junk, rows(prepared(junk, junk, fields, c)), c)
        assert all((np.asarray(x) == 0).all() for x in jax.tree.leaves(result))


def test_a_config_file_has_the_keys_of_the_objective():
    """Unset, they are the defaults of the name."""
    c = base.rl().loss
    assert set(c.keys()) == {f.name for f in objectives.dataclasses.fields(ObjectiveConfig)}
    assert ObjectiveConfig(**c) == ObjectiveConfig()
    c.name = "dapo"
    assert ObjectiveConfig(**c).eps_high == 0.28


@pytest.mark.parametrize(
    "bad, error, message",
    [
        (dict(name="ppo"), KeyError, "loss.name='ppo'.*ppo_clip, dapo"),
        (dict(eps_low=0.0), ValueError, "loss.eps_low=0.0: give in"),
        (dict(eps_high=-0.1), ValueError, "loss.eps_high=-0.1"),
        (dict(eps_high=float("nan")), ValueError, "loss.eps_high=nan"),
        (dict(dual_clip=0.5), ValueError, "loss.dual_clip=0.5.*above 1"),
        (dict(ratio="seq"), ValueError, "loss.ratio='seq'.*token, sequence, sequence_token"),
        (dict(aggregation="mean"), ValueError, "loss.aggregation='mean'.*token_mean"),
        (dict(aggregation="seq_mean_token_sum_norm"), ValueError, "loss.max_length=0.*longest"),
        (dict(name="dr_grpo"), ValueError, "loss.max_length=0.*longest"),
        (dict(kl_coef=-1.0), ValueError, "loss.kl_coef=-1.0"),
        (dict(kl_form="k4"), ValueError, "loss.kl_form='k4'.*k1, abs, k2, k3"),
        (dict(entropy_coef=-1.0), ValueError, "loss.entropy_coef=-1.0"),
        (dict(name="gspo", ratio="token"), ValueError, "loss.ratio='token'.*sequence_token"),
        (dict(top_entropy=0.0), ValueError, "loss.top_entropy=0.0.*in"),
        (dict(name="two_sided_clip", delta=1.1), ValueError, r"loss.delta=1.1.*more than 1 \+"),
        (dict(delta=2.0), ValueError, "loss.delta=2.0: loss.name='ppo_clip' does not take it"),
        (dict(name="gpg", eps_low=0.1), ValueError, "loss.eps_low=0.1.*'gpg' does not take it"),
        (dict(name="sft", kl_coef=0.1), ValueError, "loss.kl_coef=0.1.*'sft' does not take it"),
        (dict(name="kl_cov", top_entropy=0.2), ValueError, "loss.top_entropy.*'kl_cov' does not"),
        (dict(name="dppo_tv", max_ratio=0.5), ValueError, "loss.max_ratio=0.5: give 1 or more"),
        (dict(correction="tis"), ValueError, "loss.correction='tis'.*tis_token"),
        (dict(correction_high=2.0), ValueError, "loss.correction='none' does not take it"),
        (
            dict(correction="tis_token", correction_low=0.5),
            ValueError,
            "loss.correction_low=0.5: loss.correction='tis_token' does not take it",
        ),
        (dict(name="decoupled_ppo", correction="icepop"), ValueError, "does not take it"),
    ],
)
def test_bad_values_name_key_value_and_fix(bad, error, message):
    with pytest.raises(error, match=message):
        ObjectiveConfig(**bad)


@pytest.mark.parametrize("loss", [dict(correction="icepop"), dict(name="decoupled_ppo")])
def test_weights_that_compare_with_the_learner_need_its_log_probs(loss):
    """With the sampler's own as old log-probs every weight would be 1, quietly."""
    c = ObjectiveConfig(**loss)
    objectives.check(c, "learner")
    with pytest.raises(ValueError, match=r"learner.old_logp='sampler'.*give learner"):
        objectives.check(c, "sampler")
