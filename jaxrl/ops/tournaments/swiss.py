"""Rounds between players of like record: ⌊N/2⌋ matches in each of min(⌈log2 N⌉, N − 1) rounds."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from jaxrl.ops.tournaments import places

FAR = 1 << 30  # above any place


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Swiss:
    """Records so far and the next round's matches."""

    points: Array  # [N, ...] int32, in halves: 2 a win or a bye, 1 a tie
    met: Array  # [words, N, ...] uint32: bit j % 32 of word j // 32 of player i: i has met j
    matches: Array  # [M, 2, ...] int32; M = 0 once over
    lots: Array  # [rounds, N, ...] uint32
    void: Array  # [...] bool: a match had no score
    round: int = dataclasses.field(metadata={"static": True})


def init(n, key=None, batch=()):
    """The first round's pairs. Lots shuffle each round's players; without a key none does."""
    places.check_size(n)
    rounds = min((n - 1).bit_length(), n - 1)
    return _paired(
        Swiss(
            points=jnp.zeros((n, *batch), jnp.int32),
            met=jnp.zeros((-(-n // 32), n, *batch), jnp.uint32),
            matches=jnp.zeros((0, 2, *batch), jnp.int32),
            lots=places.draw_lots(key, (rounds, n, *batch)),
            void=jnp.zeros(batch, bool),
            round=0,
        )
    )


def pairs(state):
    """The round's matches [M, 2, ...] int32, the strongest first."""
    return state.matches


def record(state, scores):
    """Takes what both sides of each match got, [M, 2, ...], and pairs the next round."""
    scores = places.check_scores(state.matches, scores)
    n, (first, second) = len(state.points), (state.matches[:, 0], state.matches[:, 1])
    mine, theirs = scores[:, 0], scores[:, 1]
    half = 1 + (mine > theirs).astype(jnp.int32) - (mine < theirs)
    # One sum over the listings of a player: opponent and points at once; a bye leaves 0.
    sides = jnp.concatenate([second * 4 + half + 1, first * 4 + 3 - half])
    found = places.to_players(n, jnp.concatenate([first, second]), sides)
    opponent, bye = found // 4, found == 0
    word = jnp.arange(len(state.met), dtype=jnp.int32).reshape((-1,) + (1,) * found.ndim)
    bit = jnp.uint32(1) << (opponent % 32).astype(jnp.uint32)
    return _paired(
        dataclasses.replace(
            state,
            points=state.points + jnp.where(bye, 2, found % 4 - 1),
            met=state.met | jnp.where((word == opponent // 32) & ~bye, bit, 0),
            void=state.void | places.unscorable(scores),
            round=state.round + 1,
        )
    )


def rank(state):
    """Competition ranks [N, ...] int32 by points, then Buchholz: the points of those met."""
    n = len(state.points)
    bits = (places.column(n, state.points.ndim) % 32).astype(jnp.uint32)
    met = jnp.repeat(state.met, 32, 0)[:n].swapaxes(0, 1)  # [i, j]: the word of i that j is in
    buchholz = jnp.where(((met >> bits) & 1) > 0, state.points, 0).sum(1)
    return places.voided(places.shared(state.points * 4096 + buchholz), state.void)


def _paired(state):
    """With the matches of the round about to be played.

    Players by points, then lot; if N is odd the last one sits out; from the top each is paired
    with the first one free that it has not met, or, if it has met all, with the first one free.
    """
    n, *batch = state.points.shape
    if state.round == len(state.lots):
        return dataclasses.replace(state, matches=jnp.zeros((0, 2, *batch), jnp.int32))
    lot = places.distinct(state.lots[state.round], drop=6)
    place = places.shared(~(((63 - state.points).astype(jnp.uint32) << 26) | lot))
    low = (n - 1).bit_length()
    player = places.column(n, place.ndim)
    code = (place << low) | player  # its minimum names the best place and who is there
    code = jnp.where(place < n - n % 2, code, FAR)
    step = lambda code, _: _pair_one(code, state.met, player, low)
    return dataclasses.replace(state, matches=jax.lax.scan(step, code, length=n // 2)[1])


def _pair_one(code, met, player, low):
    """The first free player and the one it meets.  code: [N, ...], FAR where taken."""
    who = lambda best: best & ((1 << low) - 1)
    first = who(code.min(0))
    code = jnp.where(player == first, FAR, code)
    known = jnp.where(player == first, met, 0).sum(1, dtype=jnp.uint32)  # [words, ...]
    words = jnp.repeat(known, 32, 0)[: len(code)]
    seen = (words >> (player % 32).astype(jnp.uint32)) & 1
    second = who((code + (seen.astype(jnp.int32) << (2 * low))).min(0))
    return jnp.where(player == second, FAR, code), jnp.stack([first, second])
