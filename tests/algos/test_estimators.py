import jax
import numpy as np
import oracles
import pytest

from jaxrl import records
from jaxrl.algos import estimators
from jaxrl.algos.estimators import EstimatorConfig

G, PROMPTS = 8, 5


def rollouts(seed, unscorable=False):
    """Groups of eight in order: 0/1 rewards, real ones, and one group of equal rewards."""
    rng = np.random.default_rng(seed)
    rewards = rng.integers(0, 2, (PROMPTS, G)).astype(np.float32)
    rewards[1] = rng.normal(size=G)
    rewards[2] = 1
    if unscorable:
        rewards[rng.random((PROMPTS, G)) < 0.2] = np.nan
    return rewards.ravel(), np.repeat(np.arange(PROMPTS, dtype=np.int32), G)


def signals(rewards, group, num_groups=PROMPTS):
    return records.Signals(rewards, group, np.full(len(rewards), 9, np.int32), num_groups)


estimate = jax.jit(estimators.estimate, static_argnums=1)


@pytest.mark.parametrize("name", list(estimators.ESTIMATORS))
@pytest.mark.parametrize("singleton", ["zero", "raw"])
def test_estimators_match_the_loop(name, singleton):
    c = EstimatorConfig(name=name, singleton=singleton)
    for seed in range(5):
        rewards, group = rollouts(seed, unscorable=True)
        order = np.random.default_rng(seed).permutation(len(rewards))[:31]  # ragged, any order
        rewards, group = rewards[order], group[order]
        want = oracles.group_advantages(
            rewards,
            mean_ids=group,
            std_ids=group if name == "grpo" else None,
            ddof=1,
            eps=1e-6,
            eps_mode="add",
            singleton=singleton,
            rel_tol=1e-6,
            leave_one_out=name == "rloo",
        )
        got = estimate(signals(rewards, group), c)
        assert got.shape == (31,) and got.dtype == np.float32
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("style", list(estimators.STYLES))
def test_styles_reproduce_the_other_libraries(style):
    rewards, group = rollouts(0)
    want = {
        "verl": lambda: oracles.port_verl(rewards, group),
        "trl": lambda: oracles.port_trl(rewards, G),
        "tunix": lambda: oracles.port_tunix(rewards, G),
        "openrlhf": lambda: oracles.port_openrlhf(rewards, G),
    }[style]()
    got = estimate(signals(rewards, group), EstimatorConfig(style=style))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_styles_reproduce_the_edges():
    """verl keeps the bare reward of a singleton; TRL leaves unscorable rewards out."""
    rewards, group = np.float32([2, 0, 1, 1, 0, 3]), np.int32([0, 1, 1, 1, 1, 2])
    got = estimate(signals(rewards, group), EstimatorConfig(style="verl"))
    np.testing.assert_allclose(got, oracles.port_verl(rewards, group), rtol=1e-5)
    rewards, group = rollouts(3, unscorable=True)
    got = estimate(signals(rewards, group), EstimatorConfig(style="trl"))
    np.testing.assert_allclose(got, oracles.port_trl(rewards, G), rtol=1e-4, atol=1e-6)


def test_styles_differ():
    """If this fails, the presets no longer test anything."""
    rewards, group = np.float32([0, 1e-3, 5]), np.int32([0, 0, 1])
    per = [
        estimate(signals(rewards, group), EstimatorConfig(style=s))
        for s in ("verl", "trl", "openrlhf")
    ]
    assert len({tuple(np.asarray(x).tolist()) for x in per}) == 3


def test_singleton_error_names_the_groups():
    c = EstimatorConfig(singleton="error")
    rewards, group = np.float32([0, 1, np.nan, 1]), np.int32([0, 0, 2, 2])
    with pytest.raises(ValueError, match=r"advantage.singleton='error'.*\[2\].*zero or raw"):
        estimators.estimate(signals(rewards, group, 3), c)
    rewards = np.float32([0, 1, 1, 1])
    adv = estimators.estimate(signals(rewards, group, 3), c)
    np.testing.assert_allclose(adv, [-(0.5**0.5), 0.5**0.5, 0, 0], rtol=1e-5)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(KeyError, match=r"advantage.name='grpoo'.*grpo, dr_grpo, rloo"):
        EstimatorConfig(name="grpoo")


def test_bare_eapo_is_two_papers():
    with pytest.raises(KeyError, match=r"evidence_eapo.*2601.10306.*efficiency_eapo.*2511.07327"):
        EstimatorConfig(name="eapo")


@pytest.mark.parametrize(
    "bad, message",
    [
        (dict(ddof=2), "advantage.ddof=2: give 0"),
        (dict(eps=-1.0), "advantage.eps=-1.0"),
        (dict(eps=float("nan")), "advantage.eps=nan"),
        (dict(eps_mode="plus"), "advantage.eps_mode='plus': give add or floor"),
        (dict(singleton="skip"), "advantage.singleton='skip'"),
        (dict(zero_std_rel_tol=2.0), "advantage.zero_std_rel_tol=2.0"),
        (dict(style="vrel"), "advantage.style='vrel'.*verl, trl, tunix, openrlhf"),
        (dict(style="trl", ddof=0, eps=0.1), "advantage.style='trl' sets ddof, eps too"),
    ],
)
def test_bad_values_name_key_value_and_fix(bad, message):
    with pytest.raises(ValueError, match=message):
        EstimatorConfig(**bad)


@pytest.mark.parametrize("name", list(estimators.ESTIMATORS))
def test_group_size_one_is_refused(name):
    c = EstimatorConfig(name=name)
    with pytest.raises(ValueError, match=f"rollout.group=1: {name} .*set rollout.group to 2"):
        estimators.check(c, 1)
    estimators.check(c, 2)


def test_dense_ids():
    """Sparse task indices beyond int32, and strings, become small ids that keep the grouping."""
    ids, n = estimators.dense_ids([7, 2**40, 7, -1])
    assert n == 3 and ids.dtype == np.int32 and ids.tolist() == [1, 2, 1, 0]
    ids, n = estimators.dense_ids(["b", "a", "b"])
    assert n == 2 and ids.tolist() == [1, 0, 1]


def test_sparse_ids_give_the_same_advantages():
    rewards, group = rollouts(4)
    ids, n = estimators.dense_ids(group.astype(np.int64) * 10**12 + 5)
    c = EstimatorConfig()
    got, want = (estimate(signals(rewards, g, k), c) for g, k in ((ids, n), (group, PROMPTS)))
    np.testing.assert_array_equal(got, want)
