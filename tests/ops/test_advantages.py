import functools
import itertools

import jax
import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxrl.ops import advantages

B, GROUPS, POOLS = 24, 9, 4  # fixed, so that one compile serves all examples


def batch(seed, levels=0):
    """Ragged groups in any order, some empty, some of one, some of equal rewards, some NaN."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, rng.integers(1, GROUPS + 1), B).astype(np.int32)
    pool = rng.integers(0, POOLS, GROUPS)[group].astype(np.int32)
    rewards = rng.integers(0, levels, B) / 3 if levels else rng.normal(size=B) * 3 + 1
    rewards[rng.random(B) < 0.15] = np.nan
    return rewards.astype(np.float32), group, pool


@functools.cache
def jitted(**knobs):
    return jax.jit(functools.partial(advantages.normalise, **knobs))


LEVELS = {
    "prompt": lambda group, pool: group,
    "pool": lambda group, pool: pool,
    "batch": lambda group, pool: 0 * group,
    "none": lambda group, pool: None,
}
PAIRS = list(itertools.product(LEVELS, LEVELS))
KNOBS = list(itertools.product((1, 0), ("add", "floor"), ("zero", "raw"), (False, True)))


@pytest.mark.parametrize("case", range(16), ids=["-".join(p) for p in PAIRS])
@pytest.mark.parametrize("levels", [0, 2])
def test_normalise_matches_the_loop(case, levels):
    """Every mean level with every std level; the other knobs rotate through their combinations."""
    (mean, std), (ddof, eps_mode, singleton, leave_one_out) = PAIRS[case], KNOBS[7 * case % 16]
    knobs = dict(ddof=ddof, eps=1e-3, eps_mode=eps_mode, singleton=singleton)
    f = jitted(num_groups=GROUPS, num_std_groups=GROUPS, leave_one_out=leave_one_out, **knobs)
    for seed in range(20):
        rewards, group, pool = batch(seed, levels)
        mean_ids = LEVELS[mean](group, pool)
        std_ids = LEVELS[std](group, pool)
        want = oracles.group_advantages(
            rewards, mean_ids, std_ids, rel_tol=1e-6, leave_one_out=leave_one_out, **knobs
        )
        np.testing.assert_allclose(f(rewards, mean_ids, std_ids), want, rtol=2e-5, atol=2e-5)


grpo = lambda rewards, group, **knobs: jitted(num_groups=GROUPS, num_std_groups=GROUPS, **knobs)(
    rewards, group, group
)
rewards_strategy = st.lists(
    st.sampled_from([0.0, 1.0, 0.1, 0.3, -2.5, 1e4, float("nan")]), min_size=B, max_size=B
)
group_strategy = st.lists(st.integers(0, GROUPS - 1), min_size=B, max_size=B)


@settings(max_examples=60, deadline=None)
@given(rewards_strategy, group_strategy, st.permutations(range(B)))
def test_properties_of_grpo(rewards, group, order):
    """Sums to zero in each group, is exactly zero in flat ones, follows the order of the rows."""
    rewards, group = np.float32(rewards), np.int32(group)
    order = np.array(order)
    adv = np.asarray(grpo(rewards, group))
    assert np.isfinite(adv).all() and (adv[np.isnan(rewards)] == 0).all()
    for g in range(GROUPS):
        mine = rewards[(group == g) & ~np.isnan(rewards)]
        assert abs(adv[group == g].sum()) < 1e-4
        if len(set(mine.tolist())) < 2:
            assert (adv[group == g] == 0).all()
    np.testing.assert_allclose(grpo(rewards[order], group[order]), adv[order], atol=1e-5)


@pytest.mark.parametrize("reward", [0.1, 1 / 3, 1e-3, -7.7, 12345.678])
@pytest.mark.parametrize("std", [True, False])
def test_equal_rewards_give_exact_zeros(reward, std):
    """The rounding of a mean, divided by a small ε, would become an advantage of order 1."""
    rewards, group = np.full(B, reward, np.float32), np.zeros(B, np.int32)
    f = jitted(num_groups=1, num_std_groups=1, eps=1e-12, zero_std_rel_tol=0.0)
    assert (np.asarray(f(rewards, group, group if std else None)) == 0).all()


def test_nearly_equal_rewards_are_flat_up_to_the_tolerance():
    """Rewards that differ in the last bit carry no preference; a tolerance of 0 keeps them."""
    rewards = np.full(B, 0.7, np.float32)
    rewards[0] = np.nextafter(np.float32(0.7), np.float32(1))
    group = np.zeros(B, np.int32)
    assert (np.asarray(grpo(rewards, group)) == 0).all()
    assert np.asarray(grpo(rewards, group, eps=1e-12, zero_std_rel_tol=0.0))[0] > 1


def test_a_large_offset_costs_no_accuracy():
    """One-pass variance (mean of squares minus square of mean) fails here in f32."""
    rewards, group, _ = batch(3, levels=4)
    np.testing.assert_allclose(grpo(rewards + 3000, group), grpo(rewards, group), atol=3e-3)


def test_rloo_is_the_scaled_deviation_and_the_mean_of_the_others():
    rng = np.random.default_rng(0)
    rewards = rng.normal(size=B).astype(np.float32)
    group = np.repeat(np.arange(4, dtype=np.int32), 6)
    adv = jitted(num_groups=GROUPS, leave_one_out=True)(rewards, group, None)
    r = rewards.reshape(4, 6)
    np.testing.assert_allclose(adv, (6 / 5 * (r - r.mean(1, keepdims=True))).ravel(), atol=1e-5)
    others = (r.sum(1, keepdims=True) - r) / 5
    np.testing.assert_allclose(adv, (r - others).ravel(), atol=1e-5)


def test_singletons():
    """One scorable reward: nothing to compare with, or the bare reward if asked."""
    rewards = np.float32([3, np.nan, 2, 4, 5, np.inf])
    group = np.int32([0, 0, 1, 1, 2, 2])
    f = lambda **knobs: np.asarray(
        advantages.normalise(rewards, group, None, num_groups=3, leave_one_out=True, **knobs)
    )
    np.testing.assert_allclose(f(singleton="zero"), [0, 0, -2, 2, 0, 0])
    np.testing.assert_allclose(f(singleton="raw"), [3, 0, -2, 2, 5, 0])


def test_mean_per_question_with_std_per_environment():
    """One environment, two questions, one trajectory masked: seven rewards in the pool."""
    rewards = np.float32([1, 0, 0, 1, 1, 1, 1, 0])
    valid = np.array([1, 1, 1, 0, 1, 1, 1, 1], bool)
    question, environment = np.int32([0, 0, 0, 0, 1, 1, 1, 1]), np.zeros(8, np.int32)
    f = functools.partial(advantages.normalise, num_groups=2, num_std_groups=1, valid=valid, eps=0)
    want = [1.347151, -0.673575, -0.673575, 0, 0.505181, 0.505181, 0.505181, -1.515544]
    np.testing.assert_allclose(f(rewards, question, environment, ddof=0), want, atol=1e-5)


def test_unknown_knobs_are_key_errors():
    rewards, group = np.float32([0, 1]), np.int32([0, 0])
    f = functools.partial(advantages.normalise, num_groups=1, num_std_groups=1)
    with pytest.raises(KeyError):
        f(rewards, group, group, eps_mode="plus")
    with pytest.raises(KeyError):
        f(rewards, group, group, singleton="error")


@pytest.mark.parametrize("std_ids", ["prompt", "batch", "none"])
def test_eight_devices_agree_with_one(std_ids):
    """Groups cross shard borders; a mean per device would differ."""
    rewards, group, pool = batch(5, levels=3)
    ids = LEVELS[std_ids](group, pool)
    f = jitted(num_groups=GROUPS, num_std_groups=GROUPS)
    one = np.asarray(f(rewards, group, ids))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    put = lambda x: x if x is None else jax.device_put(x, NamedSharding(mesh, P("data")))
    eight = f(put(rewards), put(group), put(ids))
    assert len(eight.sharding.device_set) == 8
    np.testing.assert_allclose(eight, one, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(eight) == 0, one == 0)


@pytest.mark.parametrize("levels", [0, 2])
def test_zero_variance_matches_the_loop_and_the_zeros_of_normalise(levels):
    """A dropped group is one whose advantages are all zero, and no other."""
    f = jax.jit(advantages.zero_variance, static_argnums=2)
    for seed in range(20):
        rewards, group, _ = batch(seed, levels)
        got = np.asarray(f(rewards, group, GROUPS))
        np.testing.assert_array_equal(got, oracles.zero_variance(rewards, group, GROUPS, 1e-6))
        adv = np.asarray(grpo(rewards, group))
        silent = [(adv[group == g] == 0).all() for g in range(GROUPS)]
        np.testing.assert_array_equal(got, silent)
