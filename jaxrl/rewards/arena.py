"""Ranks by tournament: the rounds of all groups of a batch are played together, by any judge.

    ranked = await arena.rank(transcripts, group, compare, "single_elimination", key)

Contestants and group ids are [B], rows in any order, groups of any sizes. The first listed of a
group is its anchor. A contestant None is a trajectory that was lost (its env failed, not the
policy): it plays no match and is not ranked, and the others play as a smaller group; if it was the
anchor, the next one listed is. One that ended without an answer was not lost: it is judged as it
stands.
"""

import collections
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from jaxrl.ops import tournament
from jaxrl.parallel import mesh

TENTHS = 10  # a model judge's scores times ten are whole: their sums in f32 tie where they should


class Match(NamedTuple):
    """Who met whom, and what each got; `players` are rows of the batch."""

    group: int
    round: int  # from 1
    players: tuple[int, int]
    scores: tuple[float, float]  # both orders summed
    calls: tuple[tuple[float, float], tuple[float, float]]  # by order, then by player as above


class Ranked(NamedTuple):
    """What became of a batch."""

    rank: np.ndarray  # [B] f32: 0 = best of its group, shared places averaged; −1 = not ranked
    scores: np.ndarray  # [P, N, N] f32: what i got when it last met j; NaN where they never met.
    # P: group ids ascending; N: largest group, in the order of listing
    matches: tuple[Match, ...]  # in the order played
    counts: collections.Counter  # of comparisons.py and, with a model, judge.ask


async def rank(contestants, group, compare, topology, key=None):
    """Plays every group's tournament, a round of all in one call of `compare`: Ranked.

    key: for the shuffles of swiss and double_elimination; a group's depend on its id.
    """
    machine, rows = _machine(topology), _members(contestants, group)
    lots = None if key is None else np.asarray(jax.random.key_data(key))
    states = {g: machine.start(max(len(members), 1), lots, g) for g, members in rows.items()}
    played, counts = [], collections.Counter()
    while due := _due(states, rows):
        pairs = [(contestants[i], contestants[j]) for _, i, j in due]
        compared = await compare(pairs)
        counts += compared.counts
        number = played[-1].round + 1 if played else 1
        played += _matches(due, number, compared)
        states = _recorded(machine, states, due, compared.scores)
    ranks = np.full(len(contestants), -1, np.float32)
    for g, members in rows.items():
        ranks[members] = _averaged(np.asarray(machine.rank(states[g][0])))[: len(members)]
    return Ranked(ranks, _table(group, played), tuple(played), counts)


async def pointwise(contestants, group, score, topology):
    """Mean scores [B] f32 (NaN: lost) and counts, for as many calls as the tournament would make.

    The baseline of `rank`: 2 calls a comparison, shared out among the group; a remainder goes to
    the first listed. All calls are one call of `score`. Everyone is scored once at least.
    """
    rows, attempts = [], []
    for members in _members(contestants, group).values():
        n = len(members)
        budget = max(2 * tournament.comparisons(topology, n), n) if n else 0
        rows += [members[k % n] for k in range(budget)]
        attempts += [k // n for k in range(budget)]
    scored = await score([contestants[i] for i in rows], attempts)
    total, times = np.zeros((2, len(contestants)))
    np.add.at(total, rows, scored.scores)
    np.add.at(times, rows, 1)
    means = np.where(times > 0, total / np.maximum(times, 1), np.nan)
    return means.astype(np.float32), scored.counts


class _Machine(NamedTuple):
    """A topology, compiled once for each group size; a state goes with its round's matches.

    It runs on one device of this process. Under the run's mesh each program would be one of all
    processes, which have other groups, in other numbers.
    """

    start: Callable
    record: Callable
    rank: Callable


@functools.cache
def _machine(topology):
    machine, here = tournament.find(topology), mesh.make(devices=jax.local_devices()[:1])
    with_pairs = lambda state: (state, machine.pairs(state))

    def start(n, lots, g):
        key = None if lots is None else jax.random.fold_in(jax.random.wrap_key_data(lots), g)
        return with_pairs(machine.init(n, key))

    def alone(f, **how):
        jitted = jax.jit(f, **how)

        def call(*args):
            with jax.set_mesh(here):  # never across an await: other coroutines have their own
                return jitted(*args)

        return call

    record = lambda state, scores: with_pairs(machine.record(state, scores))
    return _Machine(alone(start, static_argnums=0), alone(record), alone(machine.rank))


def _members(contestants, group):
    """Group id -> its rows that are not lost, in the order of listing."""
    group = np.asarray(group)
    whole = np.issubdtype(group.dtype, np.integer) and (group >= 0).all()
    if group.shape != (len(contestants),) or not whole:
        raise ValueError(
            f"group={group!r}: give each of the {len(contestants)} contestants a whole number, 0 "
            "or more"
        )
    playing = np.array([c is not None for c in contestants], bool)
    return {int(g): np.flatnonzero((group == g) & playing) for g in np.unique(group)}


def _due(states, rows):
    """The matches of every group's next round: (group, row, row)."""
    found = ((g, rows[g][np.asarray(pairs)]) for g, (_, pairs) in states.items() if len(pairs))
    return [(g, int(i), int(j)) for g, pairs in found for i, j in pairs]


def _recorded(machine, states, due, scores):
    """The states after a round; a group that was through already keeps its own."""
    scores, of = TENTHS * np.asarray(scores), np.array([g for g, _, _ in due])
    after = {
        g: machine.record(states[g][0], scores[of == g].astype(np.float32))
        for g in set(of.tolist())
    }
    return states | after


def _matches(due, number, compared):
    for (g, i, j), scores, calls in zip(due, compared.scores, compared.calls, strict=True):
        first, swapped = calls.tolist()
        yield Match(g, number, (i, j), tuple(scores.tolist()), (tuple(first), tuple(swapped)))


def _averaged(rank):
    """Competition ranks -> places, shared ones averaged; −1 stays."""
    tied = (rank[:, None] == rank).sum(1)
    return np.where(rank < 0, -1, rank + (tied - 1) / 2)


def _table(group, played):
    group = np.asarray(group)
    ids, where = np.unique(group, return_inverse=True)
    place = [int((group[:row] == g).sum()) for row, g in enumerate(group)]
    n = max(place, default=-1) + 1
    scores = np.full((len(ids), n, n), np.nan, np.float32)
    for match in played:
        i, j = match.players
        scores[where[i], place[i], place[j]], scores[where[i], place[j], place[i]] = match.scores
    return scores
