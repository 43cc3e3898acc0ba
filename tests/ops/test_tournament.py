"""The topologies against their oracles, by a score tensor and by a live judge."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracles_tournament as oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import NamedSharding, PartitionSpec

from jaxrl.ops import tournament
from jaxrl.ops.tournaments import single_elimination

B = 24  # fixed, so that one compile serves all examples of a size
SIZES = (1, 2, 3, 5, 8, 13)
SHARE = {"anchor", "round_robin", "round_robin_paper", "swiss"}  # of ranks, by those that tie
DRAWN = {"swiss", "double_elimination"}
CASES = list(itertools.product(tournament.TOPOLOGIES, SIZES))


def scores(seed, n, levels):
    """[B, n, n] on a grid that sums exactly; few levels make heavy ties."""
    return (np.random.default_rng(seed).integers(0, levels, (B, n, n)) / 64).astype(np.float32)


@functools.cache
def jitted(topology):
    return jax.jit(lambda scores, key: tournament.rank(topology, scores, key=key)[0])


def ranks(topology, scores, seed=0):
    return np.asarray(jitted(topology)(scores, jax.random.key(seed)))


def lots(topology, n, seed):
    """[B, L]: the lots that the groups' shuffles will use."""
    start = jax.jit(tournament.TOPOLOGIES[topology].init, static_argnums=(0, 2))
    state = start(n, jax.random.key(seed), (B,))
    return np.asarray(state.lots).reshape(B, -1) if topology in DRAWN else np.zeros((B, 0))


@pytest.mark.parametrize("topology, n", CASES)
def test_ranks_match_the_oracle(topology, n):
    """Byes, odd sizes and heavy ties included; the oracle shuffles by the same lots."""
    draws = lots(topology, n, 3)
    for levels in (2, 5, 4000):
        given_scores = scores(levels, n, levels)
        got = ranks(topology, given_scores, seed=3)
        for b in range(B):
            want, _ = oracles.rank(topology, given_scores[b], draws[b])
            assert got[b].tolist() == want, (levels, b)


COMPARISONS = {
    "anchor": lambda n: n - 1,
    "round_robin": lambda n: n * (n - 1) // 2,
    "round_robin_paper": lambda n: n * (n - 1) // 2,
    "swiss": lambda n: n // 2 * min((n - 1).bit_length(), n - 1),
    "double_elimination": lambda n: 2 * n - 2,
    "single_elimination": lambda n: 2 * n - 2,
    "single_elimination_paper": lambda n: 2 * n - 2,
}


@pytest.mark.parametrize("topology", tournament.TOPOLOGIES)
def test_comparisons_are_the_closed_formula(topology):
    """Counted from the matches played, ours and the oracle's; nothing is compiled."""
    for n in (*range(1, 18), 33, 64):
        counted = []
        count = lambda s: counted.append(tournament.rank(topology, s)[1])
        jax.eval_shape(count, jax.ShapeDtypeStruct((n, n), jnp.float32))
        assert counted == [COMPARISONS[topology](n)], n
        flat = [[0.0] * n for _ in range(n)]
        assert oracles.rank(topology, flat, range(1000))[1] == counted[0], n


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([5, 8]), st.sampled_from([2, 3, 4000]))
def test_a_rank_counts_those_ahead(seed, n, levels):
    """A permutation where nothing ties, and always in the eliminations; ties share the better."""
    given_scores = scores(seed, n, levels)
    for topology in tournament.TOPOLOGIES:
        for row in ranks(topology, given_scores, seed).tolist():
            assert row == [sum(other < mine for other in row) for mine in row]
            assert topology in SHARE or sorted(row) == list(range(n))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([2, 5, 8]))
def test_without_noise_the_best_wins(seed, n):
    """Every topology finds the best; those that rank by the scores themselves find the order."""
    rng = np.random.default_rng(seed)
    quality = rng.permuted(np.tile(np.arange(n, dtype=np.float32), (B, 1)), axis=1)
    given_scores = np.repeat(quality[:, :, None], n, 2)
    for topology in tournament.TOPOLOGIES:
        got = ranks(topology, given_scores, seed)
        assert (got[quality == n - 1] == 0).all(), topology
        if topology in ("anchor", "round_robin", "round_robin_paper"):
            np.testing.assert_array_equal(got, n - 1 - quality)
        if n == 8 and topology.startswith("single"):
            np.testing.assert_array_equal(got, n - 1 - quality)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.permutations(range(8)))
def test_relabelling_moves_the_ranks_along(seed, order):
    """Round-robin under any relabelling; the seeded ones while the anchor stays and none ties."""
    given_scores = np.random.default_rng(seed).random((B, 8, 8), np.float32)
    for topology in ("anchor", "round_robin", "single_elimination", "single_elimination_paper"):
        moved = list(order)
        if topology != "round_robin":
            moved.remove(0)
            moved = [0, *moved]
        got = ranks(topology, given_scores[:, moved][:, :, moved])
        np.testing.assert_array_equal(got, ranks(topology, given_scores)[:, moved])


@pytest.mark.parametrize("topology", tournament.TOPOLOGIES)
def test_a_live_judge_sees_the_same_tournament(topology):
    """Round by round, one group, against the tensor; and no match pairs a player with itself."""
    n, key = 5, jax.random.key(1)
    table = scores(1, n, 9)[0]
    machine = tournament.TOPOLOGIES[topology]
    start, record = jax.jit(machine.init, static_argnums=0), jax.jit(machine.record)
    state, played = start(n, key), 0
    while len(pairs := np.asarray(machine.pairs(state))):
        assert (pairs[:, 0] != pairs[:, 1]).all() and pairs.min() >= 0 and pairs.max() < n
        if topology != "anchor" and not (topology.startswith("single") and played == 0):
            assert len(set(pairs.ravel().tolist())) == pairs.size or topology.startswith("round")
        judged = [(table[i, j], table[j, i]) for i, j in pairs.tolist()]
        state, played = record(state, np.float32(judged)), played + len(pairs)
    assert played == COMPARISONS[topology](n)
    want, _ = oracles.rank(topology, table, np.asarray(getattr(state, "lots", [])).ravel())
    assert np.asarray(machine.rank(state)).tolist() == want


def test_vmap_over_groups_is_the_leading_axis():
    """A caller who maps over keys and groups gets what the batch axis gives, lots aside."""
    given_scores = scores(2, 8, 4000)
    for topology in ("round_robin", "single_elimination"):
        one = jax.jit(jax.vmap(lambda s: tournament.rank(topology, s)[0]))
        np.testing.assert_array_equal(one(given_scores), ranks(topology, given_scores))


@pytest.mark.parametrize("topology", ["anchor", "round_robin", "swiss", "single_elimination"])
def test_eight_devices_rank_as_one(topology):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    given_scores = scores(4, 8, 4000)
    split = jax.device_put(given_scores, NamedSharding(mesh, PartitionSpec("data")))
    np.testing.assert_array_equal(ranks(topology, split), ranks(topology, given_scores))


def test_leading_axes_are_kept():
    given_scores = scores(2, 5, 4000)
    got = jitted("anchor")(given_scores.reshape(2, 3, 4, 5, 5), jax.random.key(0))
    np.testing.assert_array_equal(got.reshape(B, 5), ranks("anchor", given_scores))


@pytest.mark.parametrize("n", [2, 4, 8, 16])
def test_brackets_are_those_of_the_paper_and_its_code(n):
    """Algorithm 1 as printed differs from the usual bracket from N = 8 on."""
    assert [s + 1 for s in single_elimination.bracket(n)] == oracles.STANDARD[n]
    assert oracles.standard_order(n) == oracles.STANDARD[n]
    got = [s + 1 for s in single_elimination.bracket(n, printed=True)]
    assert got == oracles.printed_order(n)
    printed = {8: "1 8 3 6 4 5 2 7", 16: "1 16 3 14 5 12 7 10 8 9 6 11 4 13 2 15"}
    assert " ".join(map(str, got)) == printed.get(n, " ".join(map(str, got)))


def test_the_printed_bracket_is_off_at_16():
    """Without noise the usual one returns the order; the printed one has Kendall τ 0.933."""
    given_scores = np.repeat(np.arange(16, 0, -1, dtype=np.float32)[:, None], 16, 1)[None]
    assert ranks("single_elimination", given_scores)[0].tolist() == list(range(16))
    got = ranks("single_elimination_paper", given_scores)[0].astype(int)
    tau = (
        np.sign(got[:, None] - got).ravel()
        @ np.sign(np.subtract.outer(range(16), range(16))).ravel()
    )
    assert tau / 240 == pytest.approx(0.933, abs=5e-4)


def test_seeds_alone_would_lose_to_the_bracket():
    """The bracket can overturn the seeding: its matches are played, not read off the seeds."""
    table = np.zeros((4, 4), np.float32)
    table[1:, 0] = [3, 2, 1]  # seeds 1, 2, 3 and the anchor last
    table[3, 2], table[2, 3] = 9, 0
    table[3, 1], table[1, 3] = 9, 0
    assert ranks("single_elimination", table[None])[0].tolist() == [3, 1, 2, 0]


@pytest.mark.parametrize("ties", ["mean", "min"])
def test_rewards_and_advantages_match_the_oracle(ties):
    for n, levels in ((1, 2), (5, 2), (5, 9), (8, 3)):
        rank = ranks("round_robin", scores(n, n, levels))
        for row in rank:
            want = oracles.rewards(row.tolist(), ties)
            np.testing.assert_allclose(tournament.rank_reward(row, ties=ties), want, atol=1e-6)
            adv = tournament.rank_advantage(row, ties=ties)
            np.testing.assert_allclose(adv, oracles.advantages(want), atol=1e-5)


def test_advantages_are_those_of_the_paper():
    eight = [1.4289, 1.0206, 0.6124, 0.2041, -0.2041, -0.6124, -1.0206, -1.4289]
    np.testing.assert_allclose(tournament.rank_advantage(np.arange(8)), eight, atol=6e-5)
    sixteen = np.linspace(1.5753, -1.5753, 16)
    np.testing.assert_allclose(tournament.rank_advantage(np.arange(16)), sixteen, atol=6e-5)
    reward = np.asarray(tournament.rank_reward(np.arange(8)))
    assert reward.std() == pytest.approx((9 / (12 * 7)) ** 0.5)
    assert reward.std(ddof=1) == pytest.approx((8 * 9 / (12 * 49)) ** 0.5)


def test_groups_without_a_preference_teach_nothing():
    """All tied, alone, or unscorable: advantage exactly 0, and no NaN but in the reward."""
    for ties in ("mean", "min"):
        for row in ([0] * 7, [0], [-1] * 5):
            assert (np.asarray(tournament.rank_advantage(np.int32(row), ties=ties)) == 0).all()
    assert np.isnan(tournament.rank_reward(np.int32([-1, -1]))).all()


@pytest.mark.parametrize("topology", tournament.TOPOLOGIES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_unscorable_match_voids_its_group_alone(topology, bad):
    given_scores = scores(5, 8, 4000)
    given_scores[1, 1:, 0] = bad  # the anchor meets everyone but in the drawn topologies
    given_scores[2, np.arange(8), np.arange(8)] = bad  # nobody meets itself
    broken = given_scores.copy()
    if topology in DRAWN:
        broken[1] = bad
    got, sound = ranks(topology, broken), ranks(topology, scores(5, 8, 4000))
    assert (got[1] == -1).all()
    np.testing.assert_array_equal(np.delete(got, 1, 0), np.delete(sound, 1, 0))


def test_shuffles_differ_by_key_and_none_leaves_the_list():
    given_scores = scores(6, 8, 4000)
    for topology in DRAWN:
        first, second = ranks(topology, given_scores, 1), ranks(topology, given_scores, 2)
        assert (first != second).any()
        np.testing.assert_array_equal(first, ranks(topology, given_scores, 1))
        plain = jax.jit(lambda s: tournament.rank(topology, s)[0])(given_scores)
        want = [oracles.rank(topology, s, range(200))[0] for s in given_scores]  # lots in order
        np.testing.assert_array_equal(plain, want)


def test_no_groups_no_ranks():
    assert ranks("single_elimination", np.zeros((0, 8, 8), np.float32)).shape == (0, 8)


@pytest.mark.parametrize(
    "call, error, says",
    [
        (lambda: tournament.rank("elo", np.zeros((2, 2))), KeyError, "elo.*single_elimination"),
        (lambda: tournament.rank("swiss", np.zeros((2, 3))), ValueError, r"\(2, 3\).*N, N"),
        (lambda: tournament.rank("swiss", np.zeros(3)), ValueError, r"\(3,\)"),
        (lambda: tournament.rank("anchor", np.zeros((4, 0, 0))), ValueError, r"\(4, 0, 0\)"),
        (lambda: tournament.rank("swiss", np.zeros((2, 2)), key=7), ValueError, "random.key"),
        (lambda: tournament.TOPOLOGIES["swiss"].init(0), ValueError, "n=0"),
        (lambda: tournament.rank_reward(np.arange(3), ties="max"), ValueError, "mean or min"),
    ],
)
def test_bad_input_says_what_to_give(call, error, says):
    with pytest.raises(error, match=says):
        call()


@pytest.mark.parametrize("topology", tournament.TOPOLOGIES)
def test_scores_of_another_round_are_refused(topology):
    machine = tournament.TOPOLOGIES[topology]
    state = jax.eval_shape(lambda: machine.init(5))
    wrong = jax.ShapeDtypeStruct((2, 3, 2), jnp.float32)
    with pytest.raises(ValueError, match=r"\(2, 3, 2\).*pairs"):
        jax.eval_shape(machine.record, state, wrong)
