"""Two losses and out: a winners' bracket, a losers' bracket, one final: 2N − 2 matches.

The schedule of ArenaRL's released code (arXiv:2601.06487 names the topology only). Rounds are
played one bracket after the other: the winners' to its end, then the losers', where each takes in
those who dropped in one round of the winners'. The final has no second leg.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from jaxrl.ops.tournaments import places
from jaxrl.ops.tournaments.entries import Entries, joined, neighbours, placed, play, ranked


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Brackets:
    """Who plays now, and who waits."""

    playing: Entries  # this round's players, shuffled; one of them: over
    dropped: tuple[Entries, ...]  # losers of each round of the winners' bracket, not yet let in
    champion: Entries | None  # of the winners' bracket
    rank: Array  # [..., N] int32: of those out; 0 for the others
    lots: Array  # [..., L] uint32, a new one for every player of every round but the final
    drawn: int = dataclasses.field(metadata={"static": True})  # lots used up
    final: bool = dataclasses.field(metadata={"static": True})


def init(n, key=None, batch=()):
    """The winners' first round. Lots shuffle each round's players; without a key none does."""
    places.check_size(n)
    lots = places.draw_lots(key, batch, sum(_rounds(n)))
    rank, zeros = jnp.zeros((*batch, n), jnp.int32), jnp.zeros((*batch, n))
    first = _order(lots[..., :n]) if n > 1 else rank  # of all players: the order is who they are
    return Brackets(Entries(first, zeros, rank), (), None, rank, lots, n, n == 1)


def pairs(state):
    """The round's matches [..., M, 2] int32."""
    return neighbours(state.playing)


def record(state, scores):
    """Takes what both sides of each match got, [..., M, 2], and lists the next round's players."""
    scores = places.check_scores(pairs(state), scores)
    through, losers = play(state.playing, scores)
    if state.champion is None:
        state = dataclasses.replace(state, playing=through, dropped=(*state.dropped, losers))
        return _shuffled(state) if _size(through) > 1 else _losers_bracket(state)
    ahead = 1 if state.final else 1 + sum(map(_size, (through, *state.dropped)))
    rank = placed(state.rank, losers, ahead)
    state = dataclasses.replace(state, playing=through, rank=rank)
    return state if state.final else _advanced(state)


def read(state, scores):
    """Records the round from what everyone gets against everyone, [..., N, N]."""
    return record(state, places.met(scores, pairs(state)))


def rank(state):
    """Ranks [..., N] int32, no ties: final, then losers from the last round back, by mean score."""
    return ranked(state.rank, state.playing)


def _losers_bracket(state):
    first, *later = state.dropped
    state = dataclasses.replace(state, champion=state.playing, playing=first, dropped=tuple(later))
    return _advanced(state, let_in=_size(first) == 1)


def _advanced(state, let_in=True):
    """The next round of the losers' bracket, or the final."""
    playing, dropped = state.playing, state.dropped
    if let_in and dropped:
        playing, dropped = joined(playing, dropped[0]), dropped[1:]
    state = dataclasses.replace(state, playing=playing, dropped=dropped)
    if _size(playing) > 1:
        return _shuffled(state)
    return dataclasses.replace(state, playing=joined(state.champion, playing), final=True)


def _shuffled(state):
    n = _size(state.playing)
    if n < 2:
        return state
    order = _order(state.lots[..., state.drawn : state.drawn + n])
    return dataclasses.replace(state, playing=state.playing.take(order), drawn=state.drawn + n)


def _order(lots):
    """The place of each lot, [..., n] int32: as random a permutation as the sorting one."""
    return places.shared(~places.distinct(lots))


def _size(entries):
    return entries.player.shape[-1]


def _rounds(n):
    """How many players the list of each round holds, the final left out."""
    drops = []
    while n > 1:
        yield n
        drops.append(n // 2)
        n -= n // 2
    active = 0
    while drops or active > 1:
        active += drops.pop(0) if drops else 0
        if active > 1:
            yield active
            active -= active // 2
