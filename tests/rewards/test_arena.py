"""Tournaments of whole batches: against the tensor form, over ragged groups, and what they cost."""

import asyncio
import functools

import jax
import numpy as np
import pytest
from scripted_judge import Scripted, by_length

from jaxrl.ops import tournament
from jaxrl.ops.group_advantages import rank_rewards
from jaxrl.parallel import mesh
from jaxrl.rewards import arena, pairwise, pointwise, programmatic, rubric
from jaxrl.rewards.comparisons import Compared, tally
from jaxrl.rewards.judge import Judge
from jaxrl.rewards.programmatic import Contestant, Noise
from jaxrl.rewards.rubric import RUBRICS
from jaxrl.rewards.transcript import Transcript

PAPER = {
    "anchor": 7,
    "round_robin": 28,
    "swiss": 12,
    "double_elimination": 14,
    "single_elimination": 14,
}
PAPER_16 = {
    "anchor": 15,
    "round_robin": 120,
    "swiss": 32,
    "double_elimination": 30,
    "single_elimination": 30,
}


def recorded(noise):
    """A programmatic judge that keeps the batches it was sent."""
    batches = []

    async def compare(matches):
        batches.append(matches)
        return await programmatic.compare(noise, matches)

    return compare, batches


def rank(contestants, group, topology, noise=None, seed=0):
    compare, batches = recorded(noise or Noise(0))
    key = jax.random.key(seed)
    return asyncio.run(arena.rank(contestants, group, compare, topology, key)), batches


def field(utilities, prefix=""):
    return [Contestant(f"{prefix}{i}", float(u)) for i, u in enumerate(utilities)]


def shuffled(n, seed=0):
    return np.random.default_rng(seed).permutation(n)


@pytest.mark.parametrize("topology", PAPER)
def test_eight_players_cost_what_the_paper_says(topology):
    """arXiv:2601.06487: N = 8 takes 7, 28, 12, 14, 14 comparisons, of two judge calls each."""
    got, batches = rank(field(shuffled(8)), np.zeros(8, int), topology)
    assert got.counts["comparisons"] == len(got.matches) == PAPER[topology]
    assert got.counts["calls"] == 2 * PAPER[topology]
    assert tournament.comparisons(topology, 8) == PAPER[topology]
    assert tournament.comparisons(topology, 16) == PAPER_16[topology]
    assert len(batches) == got.matches[-1].round


@pytest.mark.parametrize("topology", ["anchor", "round_robin", "single_elimination"])
def test_without_noise_the_true_order_comes_back(topology):
    """The paper's check at N = 16: τ = 1 with the standard bracket."""
    utilities = shuffled(16)
    got, _ = rank(field(utilities), np.zeros(16, int), topology)
    np.testing.assert_array_equal(got.rank, 15 - utilities)


@pytest.mark.parametrize("topology", ["anchor", "round_robin", "single_elimination"])
def test_ranks_equal_those_of_the_score_tensor(topology):
    """A live, noisy judge and the machine over a tensor of all it would have said."""
    noise, players = Noise(5, sigma=4.0, shared=0.3, bias=0.5), field(shuffled(6))
    got, _ = rank(players, np.full(6, 3), topology, noise)
    pairs = [(a, b) for a in players for b in players]
    scores = asyncio.run(programmatic.compare(noise, pairs)).scores[:, 0].reshape(1, 6, 6)
    want = np.asarray(jax.jit(lambda s: tournament.rank(topology, s)[0])(10 * scores))[0]
    shared = (want[:, None] == want).sum(1)
    np.testing.assert_array_equal(got.rank, want + (shared - 1) / 2)
    met = ~np.isnan(got.scores[0])
    assert met.sum() == 2 * len({frozenset(m.players) for m in got.matches})
    np.testing.assert_allclose(got.scores[0][met], scores[0][met], rtol=1e-6)


@pytest.mark.parametrize("topology", ["swiss", "double_elimination"])
def test_shuffled_topologies_depend_on_key_and_group_alone(topology):
    """A resumed run must draw the same pairs; two groups must not."""
    players = field(range(8)) + field(range(8), "b")
    group = np.repeat([0, 1], 8)
    first = lambda got, g: [
        tuple(p % 8 for p in m.players) for m in got.matches if (m.group, m.round) == (g, 1)
    ]
    one, _ = rank(players, group, topology)
    again, _ = rank(players[8:], group[8:], topology)
    other, _ = rank(players, group, topology, seed=1)
    assert first(one, 1) == first(again, 1) and first(one, 0) != first(one, 1)
    assert first(one, 0) != first(other, 0)


@pytest.mark.parametrize("topology", PAPER)
def test_ragged_groups_play_their_rounds_together(topology):
    """Groups of 4, 2, 1 and none left, rows mixed: as each alone, a judge call a round of all."""
    group = np.array([7, 2, 7, 9, 7, 2, 7, 4, 4])
    players = field(shuffled(9))
    players[7] = players[8] = None
    noise = Noise(1, sigma=0.3)
    got, batches = rank(players, group, topology, noise)
    for g in (7, 2, 9):
        mine = group == g
        alone, _ = rank(
            [p for p, m in zip(players, mine, strict=True) if m], group[mine], topology, noise
        )
        np.testing.assert_array_equal(got.rank[mine], alone.rank)
    assert got.rank[group == 4].tolist() == [-1, -1] and got.rank[group == 9].tolist() == [0]
    assert len(batches) == max(m.round for m in got.matches)
    assert [len(b) for b in batches] == [
        sum(m.round == r for m in got.matches) for r in range(1, len(batches) + 1)
    ]
    assert got.scores.shape == (4, 4, 4) and np.isnan(got.scores[1]).all()


def test_a_lost_trajectory_is_not_ranked_and_the_next_one_is_the_anchor():
    """An env that failed is not the policy's doing: it must neither lose nor play."""
    players = [None, *field([1, 3, 2])]
    got, _ = rank(players, np.zeros(4, int), "anchor")
    assert got.rank.tolist() == [-1, 2, 0, 1]
    assert {m.players[1] for m in got.matches} == {1}
    rewards = rank_rewards(got.rank, np.zeros(4, int), num_groups=1)
    np.testing.assert_array_equal(rewards, [np.nan, 0, 1, 0.5])


def test_shared_places_are_averaged():
    """All equal: the middle for all, and no advantage; the eliminations have no ties."""
    got, _ = rank(field([1, 1, 1, 1]), np.zeros(4, int), "round_robin")
    assert got.rank.tolist() == [1.5] * 4
    got, _ = rank(field([2, 2, 1]), np.zeros(3, int), "round_robin")
    assert got.rank.tolist() == [0.5, 0.5, 2]


def test_tenths_tie_where_their_exact_means_do():
    """The anchor's mean of 10.2, 10.3 and 10.4 is 10.3, but not in floats of tenths."""

    async def compare(matches):
        anchor = [10.2, 10.3, 10.4]
        calls = np.array([[[10.3, x], [0, 0]] for x in anchor])
        return Compared(calls, tally(calls, np.ones((3, 2), bool)))

    got = asyncio.run(arena.rank(field([0] * 4), np.zeros(4, int), compare, "anchor"))
    assert got.rank.tolist() == [1.5] * 4


def test_a_bracket_can_be_drawn_from_its_records():
    """Who met whom, in which round, with which scores: the winner of a match is in the next."""
    players = field([5, 1, 2, 3])
    got, _ = rank(players, np.full(4, 6), "single_elimination", Noise(0, bias=0.5))
    seeding, semi, final = ([m for m in got.matches if m.round == r] for r in (1, 2, 3))
    assert [m.players for m in seeding] == [(1, 0), (2, 0), (3, 0)]
    assert [m.players for m in semi] == [(0, 1), (3, 2)] and [m.players for m in final] == [(0, 3)]
    assert final[0] == arena.Match(6, 3, (0, 3), (10.5, 6.5), ((5.5, 3.0), (5.0, 3.5)))


def test_a_model_judges_whole_batches_of_transcripts():
    """Transcripts to ranks, one call of the model a round, both orders of all groups in it."""
    lengths = np.array([30, 10, 20, 40, 20, 50])
    group = np.array([0, 0, 0, 0, 1, 1])
    of = lambda g, n: Transcript(f"query {g}", (), "x" * int(n))
    players = [of(g, n) for g, n in zip(group, lengths, strict=True)]
    model = Scripted(by_length)
    compare = functools.partial(pairwise.compare, Judge(model, RUBRICS["writing"]))
    got = asyncio.run(arena.rank(players, group, compare, "single_elimination"))
    assert got.rank.tolist() == [1, 3, 2, 0, 1, 0]
    assert [len(b) for b in model.batches] == [2 * (3 + 1), 2 * (2 + 1), 2 * 1]
    assert got.counts["calls"] == 2 * got.counts["comparisons"] == 16


@pytest.mark.parametrize("topology", PAPER)
def test_the_pointwise_baseline_uses_the_same_calls(topology):
    """Mean of ⌊c/N⌋ calls, one more for the first listed; each call errs on its own."""
    noise, players = Noise(2, sigma=1.0), [*field([1, 2, 3, 4, 5]), None, *field([7, 8], "b")]
    group = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    asked = []

    async def score(contestants, attempts):
        asked.extend(c.name for c in contestants)
        return await programmatic.score(noise, contestants, attempts)

    means, counts = asyncio.run(arena.pointwise(players, group, score, topology))
    budget = 2 * tournament.comparisons(topology, 5)
    assert counts["calls"] == len(asked) == budget + 2 * tournament.comparisons(topology, 2)
    times = [budget // 5 + (i < budget % 5) for i in range(5)]
    assert [asked.count(str(i)) for i in range(5)] == times
    errors = asyncio.run(programmatic.score(noise, players[:1] * times[0], range(times[0]))).scores
    np.testing.assert_allclose(means[0], errors.mean(), rtol=1e-6)
    assert np.isnan(means[5]) and np.isfinite(np.delete(means, 5)).all()


def test_the_pointwise_baseline_by_a_model_and_alone():
    """A group of one has no comparison to match, and is scored once all the same."""
    r = rubric.answer_only(RUBRICS["travel"])
    said = '{"answer_scores": {"relevance": 1, "feasibility": 2, "details": 3, "clarity": 4}}'
    model = Scripted(lambda *_: said)
    score = functools.partial(pointwise.score, Judge(model, r))
    players = [Transcript("q", (), "x")]
    means, counts = asyncio.run(arena.pointwise(players, np.zeros(1, int), score, "swiss"))
    assert means.tolist() == [2.5] and counts["calls"] == 1


def test_under_a_mesh_a_tournament_stays_on_one_device():
    """As a program of all devices it would be one of all processes, which have other groups."""
    players, group = field(shuffled(8)), np.zeros(8, int)
    alone, _ = rank(players, group, "swiss")
    with jax.set_mesh(mesh.make(data=-1)):
        under, _ = rank(players, group, "swiss")
        assert len(arena._machine("swiss").start(8, None, 0)[1].devices()) == 1
    assert under.matches == alone.matches and under.rank.tolist() == alone.rank.tolist()


@pytest.mark.parametrize("group", [[0], [0.0, 1.0], [[0, 1]], [0, -1]])
def test_group_ids_that_do_not_fit_are_refused_before_a_call(group):
    with pytest.raises(ValueError, match="each of the 2 contestants"):
        rank(field([1, 2]), group, "anchor")


def test_an_unknown_topology_is_refused_before_a_call():
    with pytest.raises(KeyError, match=r"'bracket'.*single_elimination"):
        rank(field([1, 2]), [0, 0], "bracket")


def test_an_empty_batch_is_an_empty_result():
    got, batches = rank([], np.zeros(0, int), "swiss")
    assert got.rank.shape == (0,) and got.matches == () and batches == []
