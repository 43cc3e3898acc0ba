"""Every line of the table against its oracle, on ragged groups with sparse ids in any order."""

import functools
import itertools

import jax
import numpy as np
import oracles
import oracles_advantages
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxrl import records
from jaxrl.algos import estimators
from jaxrl.algos.estimators import ESTIMATORS, EstimatorConfig

B, R, GROUPS, ENVS, STATES = 24, 9, 8, 3, 13  # fixed: one compile serves all batches
OPTIONS = {  # beyond the defaults
    "grpo": [{"ddof": 0, "singleton": "raw"}, {"eps": 1e-2, "eps_mode": "floor"}],
    "grpo_passk": [{"singleton": "raw"}],
    "dr_grpo": [{"singleton": "raw"}],
    "rloo": [{"singleton": "raw"}],
    "opo": [{"singleton": "raw"}],
    "gpg": [{"gpg_counts": "rewards", "singleton": "raw"}],
    "gdpo": [{"weights": (1.0, 0.25), "whiten_by": "samples"}],
    "reinforce_plus_plus_baseline": [{"whiten_by": "samples", "singleton": "raw", "ddof": 0}],
    "gfpo": [{"keep": 2, "keep_by": "efficiency"}, {"keep": 1}],
    "levels": [
        {"mean_level": mean, "std_level": std, "leave_one_out": loo}
        for (mean, std), loo in zip(
            itertools.product(("group", "batch", "none"), repeat=2),
            itertools.cycle((True, False)),
            strict=False,
        )
    ],
    "reinforce_plus_plus": [{"gamma": 0.9}],
    "gae": [{"gamma": 0.9, "lam": 0.8}, {"lam": 0.9, "whiten": True}],
    "vtrace": [{"gamma": 0.9, "rho_clip": 1.5, "c_clip": 0.8}],
    "upgo": [{"gamma": 0.9, "rho_clip": 2.0}],
    "optimal_token_baseline": [{"zero_tail": True, "gamma": 0.9}, {"singleton": "raw"}],
    "tir_optimal_token_baseline": [{"zero_tail": True}],
    "gigpo": [{"step_weight": 0.5, "std_level": "none"}, {"singleton": "raw"}],
    "erpo": [{"ddof": 0}],
    "efficiency_eapo": [{"all_correct": "zero", "round_gamma": 0.9}],
    "evidence_eapo": [
        {"evidence_mode": "minmax", "format_weight": 0.1},
        {"evidence_mode": "z", "evidence_weight": 0.05},
    ],
    "anchor_execution": [{"execution_tokens": "all"}],
}
CASES = [
    EstimatorConfig(name=name, **options)
    for name in ESTIMATORS
    for options in [{}, *OPTIONS.get(name, [])]
]
LABELS = [f"{c.name}-{i}" for i, c in enumerate(CASES)]


@functools.cache
def batch(seed):
    """Ragged groups, some empty, of one, of equal or of no scorable rewards; gaps in the tokens."""
    rng = np.random.default_rng(seed)
    sparse = rng.permutation(10**6)[:GROUPS]
    group = estimators.dense_ids(sparse[rng.integers(0, rng.integers(1, GROUPS + 1), B)])[0]
    rewards = rng.integers(0, 2, B).astype(float) if seed % 2 else rng.normal(size=B) * 3 + 1
    rewards[group == 1] = 0.7
    rewards[(rng.random(B) < 0.15) | (group == 2)] = np.nan
    parts = np.stack([rewards, rng.integers(0, 3, B)], axis=1)
    parts[rng.random(B) < 0.05, 1] = np.nan
    f32 = lambda *shape: rng.normal(size=shape).astype(np.float32)
    mask = rng.random((B, R)) < 0.6
    mask[rng.random(B) < 0.1] = False
    logp = np.where(mask, -rng.exponential(size=(B, R)), np.nan)
    s = {
        "rewards": rewards,
        "group": group,
        "length": mask.sum(1).astype(np.int32),
        "valid": rng.random(B) < 0.9,
        "parts": parts,
        "greedy": np.where(rng.random(B) < 0.1, np.nan, f32(B)),
        "rank": rng.integers(-1, 6, B).astype(np.int32),
        "plan": rng.random(B),
        "evidence": np.where(rng.random(B) < 0.1, np.nan, rng.integers(1, 6, B)),
        "formatted": rng.random(B) < 0.8,
        "env": (group % ENVS).astype(np.int32),
        "state": rng.integers(0, STATES, B).astype(np.int32),
        "round": rng.integers(1, 4, B).astype(np.int32),
        "rounds": rng.integers(4, 7, B).astype(np.int32),
        "returns": f32(B),
        "lot": rng.random(B),
        "mask": mask,
        "turn": rng.integers(1, 4, (B, R)).astype(np.int32),
        "values": np.where(mask, f32(B, R), np.nan),
        "log_ratio": np.where(mask, f32(B, R) / 2, np.nan),
        "logp": logp,
        "squares": np.where(mask, rng.random((B, R)), np.nan),
    }
    if seed % 3 == 0:
        s["token_rewards"] = f32(B, R)
    narrow = lambda x: x.astype(np.float32) if x.dtype == np.float64 else x
    return {key: narrow(value) for key, value in s.items()}


def signals(s):
    return records.Signals(**s, num_groups=GROUPS, num_envs=ENVS, num_states=STATES)


CHEAPLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
jit = functools.partial(jax.jit, compiler_options=CHEAPLY)  # compiling is what these tests cost


@functools.partial(jit, static_argnums=1)
def run_all(signals, cases):
    return [estimators.estimate(signals, c) for c in cases]


def estimate(signals, c):
    """As a run does it: checked on the host, computed under jit."""
    estimators.check_signals(signals, c)
    return np.asarray(jitted(signals, c))


jitted = jit(estimators.estimate, static_argnums=1)


@functools.cache
def results(seed):
    return [np.asarray(x) for x in run_all(signals(batch(seed)), tuple(CASES))]


@pytest.mark.parametrize("case", range(len(CASES)), ids=LABELS)
def test_every_estimator_matches_its_loop(case):
    c = CASES[case]
    for seed in range(8):
        s = batch(seed)
        got, want = results(seed)[case], oracles_advantages.TABLE[c.name](s, c)
        assert got.dtype == np.float32 and got.shape == want.shape
        assert np.isfinite(got).all()
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_every_name_has_an_oracle_and_a_docstring_with_its_source():
    assert set(oracles_advantages.TABLE) == set(ESTIMATORS)
    for name, line in ESTIMATORS.items():
        text = line.fn.__doc__
        assert name == "levels" or "arXiv:" in text or "doi:" in text
        assert name == line.fn.__name__


def test_rows_may_stand_in_any_order():
    order = np.random.default_rng(0).permutation(B)
    s = {key: value[order] for key, value in batch(1).items()}
    for c, got, want in zip(CASES, run_all(signals(s), tuple(CASES)), results(1), strict=True):
        np.testing.assert_allclose(got, want[order], atol=2e-5, err_msg=c.name)


def test_eight_devices_agree_with_one():
    """Groups cross shard borders; a mean per device would differ."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    put = lambda x: jax.device_put(x, NamedSharding(mesh, P("data")))
    found = run_all(jax.tree.map(put, signals(batch(1))), tuple(CASES))
    for c, got, want in zip(CASES, found, results(1), strict=True):
        np.testing.assert_allclose(got, want, atol=2e-5, err_msg=c.name)


def test_gradients_are_finite():
    """A reward model trained through its advantages would turn to NaN at the first flat group."""
    cases = [EstimatorConfig(name=name) for name in ESTIMATORS]

    def total(rewards, signals):
        made = signals.replace(rewards=rewards)
        return sum(x.sum() for x in map(lambda c: estimators.estimate(made, c), cases))

    gradient = jit(jax.grad(total))
    for seed in (1, 2):
        s = signals(batch(seed))
        assert np.isfinite(gradient(s.rewards, s)).all()


@pytest.mark.parametrize("level", ["empty", "one", "unscorable", "equal"])
def test_groups_without_a_contrast_give_zeros_or_the_documented_value(level):
    """No NaN ever; with "zero" exactly 0 wherever samples of a prompt are compared."""
    s = dict(batch(1))
    s["group"] = {"one": np.arange(B) % GROUPS}.get(level, np.zeros(B)).astype(np.int32)
    s["state"] = s["group"]
    s["valid"] = np.ones(B, bool)
    s["rewards"] = np.full(B, 0.1, np.float32)
    if level == "unscorable":
        s["rewards"] = np.full(B, np.nan, np.float32)
    if level == "one":
        s["rewards"] = np.where(np.arange(B) < GROUPS, 1 / 3, np.nan).astype(np.float32)
    s["returns"] = s["rewards"]
    s["parts"] = np.stack([s["rewards"]] * 2, axis=1)
    s["plan"], s["rank"] = s["rewards"], np.where(np.isnan(s["rewards"]), -1, 0).astype(np.int32)
    s["evidence"], s["formatted"] = np.full(B, 3, np.float32), np.ones(B, bool)
    s["rounds"] = s["round"] = np.ones(B, np.int32)
    s.pop("token_rewards", None)
    for c, adv in zip(CASES, run_all(signals(s), tuple(CASES)), strict=True):
        adv = np.asarray(adv)
        assert np.isfinite(adv).all(), c.name
        compares = ESTIMATORS[c.name].compares and c.singleton == "zero"
        token = c.name.endswith("token_baseline")  # equal rewards still differ by 1e-8 · G there
        if compares and not (token and level != "unscorable"):
            assert (adv == 0).all(), c.name


counts = st.lists(st.integers(0, GROUPS - 1), min_size=B, max_size=B)
values = st.lists(
    st.sampled_from([0.0, 1.0, 0.1, 0.3, -2.5, 1e4, float("nan"), float("inf")]),
    min_size=B,
    max_size=B,
)


@settings(max_examples=15, deadline=None)
@given(values, counts)
def test_any_rewards_in_any_groups_give_finite_advantages(rewards, group):
    """Sums of a group vanish, unscorable samples get 0, and nothing is ever NaN."""
    s = batch(1) | {"rewards": np.float32(rewards), "group": np.int32(group)}
    found = run_all(signals(s), tuple(CASES))
    lost = ~np.isfinite(s["rewards"]) | ~s["valid"]
    for c, adv in zip(CASES, map(np.asarray, found), strict=True):
        assert np.isfinite(adv).all(), c.name
        if c.name not in ("arena", "anchor_plan"):  # these do not read the rewards
            assert (adv[lost] == 0).all(), c.name
    by_name = dict(zip([c.name for c in CASES[::-1]], found[::-1], strict=True))
    for name in ("grpo", "dr_grpo", "rloo", "batch_norm_grpo", "maxrl"):
        sums = np.bincount(group, np.asarray(by_name[name], np.float64), GROUPS)
        scale = np.bincount(group, np.abs(np.asarray(by_name[name], np.float64)), GROUPS)
        assert (np.abs(sums) <= 1e-4 * (1 + scale)).all(), name


@pytest.mark.parametrize("name", [n for n in ESTIMATORS if "mask" in ESTIMATORS[n].needs])
def test_observation_tokens_are_transparent(name):
    """The advantages of a sequence with gaps are those of its chosen tokens alone."""
    rng = np.random.default_rng(3)
    s = dict(batch(3))
    s["mask"] = np.tile(rng.random(R) < 0.6, (B, 1))  # the same columns, as baselines need
    for key in ("values", "log_ratio", "logp", "squares"):
        s[key] = np.nan_to_num(s[key])
    s["token_rewards"] = s["token_rewards"] * s["mask"]
    s["length"] = s["mask"].sum(1).astype(np.int32)
    columns = np.concatenate([np.flatnonzero(s["mask"][0]), np.flatnonzero(~s["mask"][0])])
    tokens = [k for k, v in s.items() if v.ndim == 2 and k != "parts"]
    tight = s | {key: s[key][:, columns] for key in tokens}
    c = tuple(CASES)
    at = [i for i, one in enumerate(CASES) if one.name == name]
    wide, narrow = run_all(signals(s), c), run_all(signals(tight), c)
    for i in at:
        np.testing.assert_allclose(np.asarray(wide[i])[:, columns], narrow[i], atol=1e-5)
        assert np.abs(narrow[i]).max() > 0


def vectors(rewards, group, **rest):
    rewards, group = np.float32(rewards), np.int32(group)
    length = np.ones(len(group), np.int32)
    return records.Signals(rewards, group, length, int(group.max()) + 1, **rest)


LOTS = np.float32([0.5, 0.1, 0.9, 0.3, 0.7, 0.2, 0.8, 0.4, 0.6])


def test_erpo_test_vector():
    """One environment; question 1 has a masked sample, question 2 none."""
    valid = np.array([1, 1, 1, 0, 1, 1, 1, 1], bool)
    s = vectors([1, 0, 0, 1, 1, 1, 1, 0], [0] * 4 + [1] * 4, valid=valid)
    s = s.replace(env=np.zeros(8, np.int32), num_envs=1)
    f = lambda **options: estimate(s, EstimatorConfig(eps=0.0, **options))
    want = [1.347151, -0.673575, -0.673575, 0, 0.505181, 0.505181, 0.505181, -1.515544]
    np.testing.assert_allclose(f(name="erpo", ddof=0), want, atol=1e-6)
    want = [1.247219, -0.623610, -0.623610, 0, 0.467707, 0.467707, 0.467707, -1.403122]
    np.testing.assert_allclose(f(name="erpo"), want, atol=1e-6)
    want = [1.414214, -0.707107, -0.707107, 0, 0.577350, 0.577350, 0.577350, -1.732051]
    np.testing.assert_allclose(f(name="grpo", ddof=0), want, atol=1e-6)
    kept = estimators.in_loss(s, EstimatorConfig(name="erpo"))
    np.testing.assert_array_equal(kept[:, 0], valid)


def test_efficiency_eapo_test_vector():
    """Rollouts of 2 and 4 rounds that are right, one of 3 that is wrong."""
    rounds = np.int32([2] * 2 + [4] * 4 + [3] * 3)
    rest = {"round": np.int32([1, 2, 1, 2, 3, 4, 1, 2, 3]), "rounds": rounds, "lot": LOTS[:9]}
    s = vectors([1] * 6 + [0] * 3, [0] * 9, **rest)
    f = lambda ddof: estimate(s, EstimatorConfig(name="efficiency_eapo", ddof=ddof, eps=0.0))
    want = [0.708819, 0.719487, 0.687642, 0.698204, 0.708819, 0.719487] + [-1.414153] * 3
    np.testing.assert_allclose(f(0), want, atol=2e-6)
    want = [0.668281, 0.678339, 0.648315, 0.658273, 0.668281, 0.678339] + [-1.333276] * 3
    np.testing.assert_allclose(f(1), want, atol=2e-6)


def test_efficiency_eapo_all_right_is_kept_as_printed_or_silenced():
    rest = {"round": np.int32([1, 2, 1, 2, 3, 4]), "rounds": np.int32([2] * 2 + [4] * 4)}
    s = vectors([1] * 6, [0] * 6, lot=LOTS[:6], **rest)
    c = functools.partial(EstimatorConfig, name="efficiency_eapo", ddof=0)
    kept = estimate(s, c())
    np.testing.assert_allclose(kept, [0.15, 1.10, -1.71, -0.78, 0.15, 1.10], atol=1e-2)
    assert (np.asarray(estimate(s, c(all_correct="zero"))) == 0).all()


def test_rows_are_left_out_down_to_the_data_parallel_multiple():
    """Of 9 rows, 8 scorable ones: all stay at 4, two go at 3, by lot; none is left at 16."""
    ones = np.ones(9, np.int32)
    s = vectors([1] * 8 + [np.nan], [0] * 9, round=ones, rounds=ones, lot=LOTS)
    kept = lambda k: estimators.in_loss(s, EstimatorConfig(name="efficiency_eapo", multiple=k))
    assert kept(1) is None
    for multiple, out in ((4, [8]), (3, [1, 5, 8]), (16, list(range(9)))):
        assert np.flatnonzero(~np.asarray(kept(multiple))[:, 0]).tolist() == out


@pytest.mark.parametrize("n, top, step", [(8, 1.4289, 0.4083), (16, 1.5753, 0.2101)])
def test_arena_test_vector(n, top, step):
    """From the best down in equal steps, whatever the rewards; σ of 0 … n−1 is √(n(n+1)/12)."""
    order = np.random.default_rng(0).permutation(n).astype(np.int32)
    s = vectors(np.zeros(n), np.zeros(n), rank=order)
    adv = np.asarray(estimate(s, EstimatorConfig(name="arena")))
    np.testing.assert_allclose(adv, ((n - 1) / 2 - order) / (n * (n + 1) / 12) ** 0.5, atol=1e-5)
    np.testing.assert_allclose([adv.max(), -np.diff(np.sort(-adv))[0]], [top, -step], atol=6e-5)


def test_anchor_masks():
    turn = np.int32([[1, 1, 2], [1, 2, 3]])
    s = vectors([1, 0], [0, 0], turn=turn, plan=np.float32([0, 1]))
    kept = lambda name, **options: estimators.in_loss(s, EstimatorConfig(name=name, **options))
    for name in ("anchor_plan", "first_step_grpo"):
        np.testing.assert_array_equal(kept(name), turn == 1)
    np.testing.assert_array_equal(kept("anchor_execution"), turn >= 2)
    np.testing.assert_array_equal(kept("anchor_execution", execution_tokens="all"), turn >= 1)
    assert kept("grpo") is None
    adv = lambda name: np.sign(estimate(s, EstimatorConfig(name=name))).tolist()
    assert adv("anchor_plan") == [-1, 1] and adv("anchor_execution") == [1, -1]


def test_evidence_never_outweighs_the_outcome():
    """Any right answer beats any wrong one; settings that would break it are refused."""
    rng = np.random.default_rng(0)
    for mode, weight in (("abs", 0.3), ("minmax", 0.3), ("z", 0.15)):
        c = EstimatorConfig(name="evidence_eapo", evidence_mode=mode, evidence_weight=weight)
        right = rng.integers(0, 2, 8).astype(np.float32)
        scores = np.where(right > 0, rng.integers(1, 3, 8), rng.integers(4, 6, 8))
        s = vectors(right, [0] * 8, evidence=np.float32(scores), formatted=np.ones(8, bool))
        adv = np.asarray(estimate(s, c))
        assert adv[right > 0].min() > adv[right == 0].max()
    with pytest.raises(ValueError, match=r"evidence_weight=0.7.*outcome_weight"):
        EstimatorConfig(name="evidence_eapo", evidence_weight=0.7)
    with pytest.raises(ValueError, match=r"evidence_weight=0.3.*'z'.*group of 8"):
        estimators.check(EstimatorConfig(name="evidence_eapo", evidence_mode="z"), 8)


def groups_of_eight(seed, unscorable=False):
    """In order: 0/1 rewards, real ones, and one group of equal rewards."""
    rng = np.random.default_rng(seed)
    rewards = rng.integers(0, 2, (5, 8)).astype(np.float32)
    rewards[1] = rng.normal(size=8)
    rewards[2] = 1
    if unscorable:
        rewards[rng.random((5, 8)) < 0.2] = np.nan
    return rewards.ravel(), np.repeat(np.arange(5, dtype=np.int32), 8)


def by_style(rewards, group, style):
    s = vectors(rewards, group)
    return np.asarray(estimate(s, EstimatorConfig(style=style)))


@pytest.mark.parametrize("style", list(estimators.STYLES))
def test_styles_reproduce_the_other_libraries(style):
    rewards, group = groups_of_eight(0)
    want = {
        "verl": lambda: oracles.port_verl(rewards, group),
        "trl": lambda: oracles.port_trl(rewards, 8),
        "tunix": lambda: oracles.port_tunix(rewards, 8),
        "openrlhf": lambda: oracles.port_openrlhf(rewards, 8),
    }[style]()
    np.testing.assert_allclose(by_style(rewards, group, style), want, rtol=1e-5, atol=1e-6)


def test_styles_reproduce_the_edges():
    """verl keeps the bare reward of a singleton; TRL leaves unscorable rewards out."""
    rewards, group = np.float32([2, 0, 1, 1, 0, 3]), np.int32([0, 1, 1, 1, 1, 2])
    want = oracles.port_verl(rewards, group)
    np.testing.assert_allclose(by_style(rewards, group, "verl"), want, rtol=1e-5)
    rewards, group = groups_of_eight(3, unscorable=True)
    want = oracles.port_trl(rewards, 8)
    np.testing.assert_allclose(by_style(rewards, group, "trl"), want, rtol=1e-4, atol=1e-6)


def test_styles_differ():
    """If this fails, the presets no longer test anything."""
    found = [by_style([0, 1e-3, 5], [0, 0, 1], s) for s in ("verl", "trl", "openrlhf")]
    assert len({tuple(x.tolist()) for x in found}) == 3


def test_levels_contain_the_named_ones():
    by = {}
    for c, adv in zip(CASES, results(2), strict=True):
        by.setdefault((c.name, c.mean_level, c.std_level, c.leave_one_out), adv)
    level = lambda *key: by["levels", *key]
    named = lambda name: by[name, "group", "group", False]
    np.testing.assert_array_equal(level("group", "group", False), named("grpo"))
    np.testing.assert_array_equal(level("group", "batch", False), named("batch_norm_grpo"))
    assert np.abs(level("batch", "batch", True) - level("group", "group", False)).max() > 0.1


def test_singleton_error_names_the_groups():
    c = EstimatorConfig(singleton="error")
    s = vectors([0, 1, np.nan, 1], [0, 0, 2, 2])
    with pytest.raises(ValueError, match=r"advantage.singleton='error'.*\[2\].*zero or raw"):
        estimate(s, c)
    adv = estimate(s.replace(rewards=np.float32([0, 1, 1, 1])), c)
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
        (dict(name="gae", gamma=1.5), "advantage.gamma=1.5"),
        (dict(name="gfpo", keep=-1), "advantage.keep=-1"),
        (dict(name="gigpo", std_level="batch"), "advantage.std_level='batch'"),
        (dict(name="grpo", gamma=0.9), "advantage.gamma=0.9: grpo does not take it.*ddof"),
        (dict(name="remax", ddof=0), "advantage.ddof=0: remax does not take it.*no option"),
    ],
)
def test_bad_values_name_key_value_and_fix(bad, message):
    with pytest.raises(ValueError, match=message):
        EstimatorConfig(**bad)


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_a_missing_field_is_named_before_any_compute(name):
    needs = ESTIMATORS[name].needs
    bare = vectors([0, 1], [0, 0])
    if not needs:
        estimators.check_signals(bare, EstimatorConfig(name=name))
        return
    with pytest.raises(ValueError, match=f"advantage.name='{name}' needs Signals.{needs[0]}"):
        estimators.estimate(bare, EstimatorConfig(name=name))


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("group", np.int32([0, 7] * 12), r"Signals.group holds ids from 0 to 7, but num_groups=7"),
        ("group", np.int32([-1] * B), r"Signals.group holds ids from -1"),
        ("group", np.float32([0] * B), r"Signals.group is float32: give integers"),
        ("env", np.int32([3] * B), r"Signals.env holds ids from 3 to 3, but num_envs=3"),
        (
            "length",
            np.zeros(5, np.int32),
            r"Signals.length has shape \(5,\): give \[B\], with B = 24",
        ),
        (
            "values",
            np.zeros((B, 4), np.float32),
            r"Signals.values has shape \(24, 4\): give \[B, R\]",
        ),
        ("parts", np.zeros(B, np.float32), r"Signals.parts has shape \(24,\): give \[B, K\]"),
    ],
)
def test_bad_signals_are_refused_on_the_host(field, value, message):
    s = records.Signals(**batch(1) | {field: value}, num_groups=7, num_envs=ENVS, num_states=STATES)
    if field != "group":
        s = s.replace(num_groups=GROUPS)
    with pytest.raises(ValueError, match=message):
        estimators.check_signals(s, EstimatorConfig())


@pytest.mark.parametrize("name", [n for n in ESTIMATORS if ESTIMATORS[n].compares])
def test_group_size_one_is_refused(name):
    c = EstimatorConfig(name=name)
    with pytest.raises(ValueError, match=f"rollout.group=1: {name} .*set rollout.group to 2"):
        estimators.check(c, 1)
    estimators.check(c, 2)


def test_what_compares_nothing_takes_one_sample():
    for name in ("remax", "gae", "reinforce_plus_plus"):
        estimators.check(EstimatorConfig(name=name), 1)
    batchwise = EstimatorConfig(name="levels", mean_level="batch", std_level="none")
    estimators.check(batchwise, 1)
    with pytest.raises(ValueError, match=r"rollout.group=1: levels"):
        estimators.check(EstimatorConfig(name="levels"), 1)
    with pytest.raises(ValueError, match=r"advantage.keep=9: rollout.group=8"):
        estimators.check(EstimatorConfig(name="gfpo", keep=9), 8)


def test_dense_ids():
    """Sparse task indices beyond int32, and strings, become small ids that keep the grouping."""
    ids, n = estimators.dense_ids([7, 2**40, 7, -1])
    assert n == 3 and ids.dtype == np.int32 and ids.tolist() == [1, 2, 1, 0]
    ids, n = estimators.dense_ids(["b", "a", "b"])
    assert n == 2 and ids.tolist() == [1, 0, 1]
