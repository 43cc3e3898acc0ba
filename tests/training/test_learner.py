"""From rollouts to an update: the mesh, the epochs and the origin of old log-probs."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
import tiny

from jaxrl.algos import objectives
from jaxrl.data import packing
from jaxrl.models import lora
from jaxrl.training import step
from jaxrl.training.learner import Learner, LearnerConfig

TRAJ = tiny.trajectory(0, P=7, G=3)  # 7 groups in 8 rows: the last row is padding
ADV = np.random.default_rng(0).normal(size=21).astype(np.float32)
ALL = np.arange(7)
SIZES = LearnerConfig(width=24, scored=16, rows=8, micro=8, epochs=1, temperature=0.7)


def make(base, *, frozen=None, reference=None, kl_coef=0.0, **changes):
    settings = objectives.ObjectiveConfig(kl_coef=kl_coef, aggregation="seq_mean_token_mean")
    objective = functools.partial(objectives.OBJECTIVES["ppo_clip"], c=settings)
    given = {"frozen": frozen, "reference": reference}
    return Learner(base, objective, dataclasses.replace(SIZES, **changes), **given)


def update(base, learner, traj=TRAJ, groups=ALL, state=None):
    """One batch from a fresh state, on the host."""
    with jax.set_mesh(base.mesh):
        return jax.device_get(learner(state or tiny.state(base), traj, groups, ADV))


@pytest.fixture(scope="module")
def base():
    return tiny.base()


@pytest.fixture(scope="module")
def learner(base):
    return make(base)


@pytest.fixture(scope="module")
def plain(base, learner):
    return update(base, learner)


@pytest.mark.parametrize(
    "sizes",
    [
        {"data": 8},
        {"fsdp": 8},
        {"data": 2, "fsdp": 2, "tensor": 2},
        {"context": 8},
        {"fsdp": 2, "context": 2, "tensor": 2},
    ],
    ids=str,
)
def test_the_mesh_changes_no_update(plain, sizes):
    """Eight devices, split over the batch, the weights, the columns, or several at once."""
    base = tiny.base(jax.devices(), sizes)
    micro = 4 if "tensor" in sizes else 8
    state, metrics, logp = update(base, make(base, micro=micro))
    tiny.assert_close(state.params, plain[0].params, 1e-5)
    tiny.assert_close(state.opt, plain[0].opt, 1e-5)
    tiny.assert_close(metrics, plain[1], 1e-4)
    np.testing.assert_allclose(logp, plain[2], atol=1e-5)


@pytest.mark.slow
def test_the_mesh_changes_no_update_of_adapters_and_nothing_moves_their_base():
    found = []
    c = lora.LoraConfig(2, 4.0, ("q", "o", "down"))
    for devices, sizes in ((None, None), (jax.devices(), {"data": 2, "fsdp": 2, "tensor": 2})):
        base = tiny.base(devices, sizes, c=c)
        frozen = tiny.held("int8", jax.device_put(tiny.params(), base.places()))
        before = jax.device_get(frozen)
        found.append(update(base, make(base, micro=4, frozen=frozen)))
        jax.tree.map(np.testing.assert_array_equal, jax.device_get(frozen), before)
    (state, metrics, logp), want = found[1], found[0]
    tiny.assert_close(state.params, want[0].params, 1e-5)
    tiny.assert_close(state.opt, want[0].opt, 1e-5)
    tiny.assert_close(metrics, want[1], 1e-4)
    np.testing.assert_allclose(logp, want[2], atol=1e-5)


def test_what_the_whole_batch_decides_depends_on_no_split(base):
    """KL-Cov's tokens are the same on eight devices, and for any size of micro-batch."""
    settings = objectives.ObjectiveConfig(name="kl_cov", cov_share=0.3)
    how = {"prepare": objectives.prepare(settings)}
    objective = functools.partial(objectives.OBJECTIVES["kl_cov"], c=settings)
    found = []
    for where, micro in ((base, 8), (base, 2), (tiny.base(jax.devices(), {"fsdp": 8}), 8)):
        sizes = dataclasses.replace(SIZES, micro=micro)
        found.append(update(where, Learner(where, objective, sizes, **how)))
    assert 0.2 < found[0][1]["policy/selected"] < 0.4
    for state, metrics, _ in found[1:]:
        tiny.assert_close(state.params, found[0][0].params, 1e-5)
        tiny.assert_close(metrics, found[0][1], 1e-4)


def test_log_probs_come_back_in_the_shape_of_the_rollouts(base, plain):
    """NaN where nothing was computed; elsewhere the learner's, at the law's temperature."""
    _, metrics, logp = plain
    np.testing.assert_array_equal(np.isnan(logp), ~TRAJ.valid)
    per_token = dict.fromkeys(packing.PER_TOKEN, np.zeros(logp.shape, np.float32))
    rows, _, where = packing.pack(TRAJ, per_token, groups=ALL, width=24, scored=15, rows=8)
    want = step.log_probs(tiny.params(), rows, tiny.MODEL, temperature=0.7)[0].reshape(-1)
    np.testing.assert_allclose(logp[TRAJ.valid], want[where[TRAJ.valid]], atol=1e-4)
    gap = np.abs(TRAJ.full_logp - logp)[TRAJ.valid]
    np.testing.assert_allclose(metrics["sampler/gap_mean"], gap.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["sampler/gap_max"], gap.max(), rtol=1e-5)
    assert metrics["tokens/trained"] == TRAJ.valid.sum()


def test_dropped_groups_are_as_if_never_sampled(base, learner):
    groups = np.array([0, 2, 3])
    few, _, logp = update(base, learner, groups=groups)
    inside = np.isin(TRAJ.group, groups)
    assert np.isnan(logp[~inside]).all()
    cut = {k: getattr(TRAJ, k)[inside] for k in ("tokens", "valid", "mask", "logp", "full_logp")}
    traj = dataclasses.replace(TRAJ, **cut, group=TRAJ.group[inside])
    with jax.set_mesh(base.mesh):
        alone, _, _ = learner(tiny.state(base), traj, groups, ADV[inside])
    tiny.assert_close(few.params, jax.device_get(alone.params), 1e-6)


def test_no_group_with_a_signal_is_an_update_of_nothing(base, learner):
    state, metrics, logp = update(base, learner, groups=np.zeros(0, int))
    assert (int(state.step), int(state.skipped), metrics["tokens/trained"]) == (1, 0, 0)
    jax.tree.map(np.testing.assert_array_equal, state.params, tiny.params())
    assert np.isnan(logp).all() and np.isnan(metrics["sampler/gap_max"])


def test_two_epochs_are_two_updates_on_the_same_old_log_probs(base, learner, plain):
    state, _, logp = update(base, make(base, epochs=2))
    twice, _, _ = update(base, learner, state=jax.device_put(plain[0], base.shardings()))
    assert int(state.step) == 2
    tiny.assert_close(state.params, twice.params, 1e-6)
    np.testing.assert_allclose(logp, plain[2], atol=1e-6)  # of the parameters that sampled


def test_old_log_probs_of_the_learner_and_the_reference(base, plain):
    """The first epoch starts at ratio 1 whatever the sampler says; the KL is to the reference."""
    assert plain[1]["policy/kl"] > 0.01  # the made-up sampler is off
    reference = jax.device_put(tiny.params(seed=1), base.shardings().params)
    learner = make(base, old_logp="learner", reference=reference, kl_coef=0.5)
    state, metrics, logp = update(base, learner)
    assert metrics["policy/kl"] < 1e-9 and metrics["policy/clip_fraction"] == 0
    other, _, _ = update(base, learner, dataclasses.replace(TRAJ, full_logp=TRAJ.full_logp * 2))
    tiny.assert_close(other.params, state.params, 1e-7)
    per_token = dict.fromkeys(packing.PER_TOKEN, np.zeros(logp.shape, np.float32))
    rows, _, where = packing.pack(TRAJ, per_token, groups=ALL, width=24, scored=15, rows=8)
    ref = step.log_probs(tiny.params(seed=1), rows, tiny.MODEL, temperature=0.7)[0].reshape(-1)
    log_r = np.where(TRAJ.valid, np.asarray(ref)[where] - logp, 0).astype(np.float64)
    per_sample = (np.exp(log_r) - 1 - log_r).sum(1) / TRAJ.valid.sum(1)
    np.testing.assert_allclose(metrics["policy/ref_kl"], per_sample.mean(), rtol=1e-3)


@pytest.mark.parametrize("key", ["width", "scored", "micro", "epochs"])
def test_sizes_of_nothing_are_refused(key):
    with pytest.raises(ValueError, match=f"learner.{key}=0: give at least 1"):
        dataclasses.replace(SIZES, **{key: 0})


def test_an_unknown_origin_of_old_log_probs_is_refused():
    with pytest.raises(ValueError, match=r"learner.old_logp='policy': give sampler or learner"):
        dataclasses.replace(SIZES, old_logp="policy")
