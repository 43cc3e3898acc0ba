"""Rounds between players of like record: ⌊N/2⌋ matches in each of min(⌈log2 N⌉, N − 1) rounds."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from jaxrl.ops.tournaments import places

WORD = 32  # bits
FAR = 1 << 30  # above any place
VOID = -(1 << 16)  # points: no record makes up for it


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Swiss:
    """Records so far and the next round's matches."""

    points: Array  # [..., N] int32, in halves: 2 a win or a bye, 1 a tie; below 0: unscorable
    opponents: tuple[Array, ...]  # new in each round: [..., N] int32, oneself if none was
    matches: Array  # [..., M, 2] int32; M = 0 once over
    lots: Array  # [..., rounds, N] uint32


def init(n, key=None, batch=()):
    """The first round's pairs. Lots shuffle each round's players; without a key none does."""
    places.check_size(n)
    rounds = min((n - 1).bit_length(), n - 1)
    return _paired(
        Swiss(
            points=jnp.zeros((*batch, n), jnp.int32),
            opponents=(),
            matches=jnp.zeros((*batch, 0, 2), jnp.int32),
            lots=places.draw_lots(key, batch, rounds * n).reshape(*batch, rounds, n),
        )
    )


def pairs(state):
    """The round's matches [..., M, 2] int32, the strongest first."""
    return state.matches


def record(state, scores):
    """Takes what both sides of each match got, [..., M, 2], and pairs the next round."""
    scores = places.check_scores(state.matches, scores)
    *batch, n = state.points.shape
    theirs = scores[..., ::-1]
    half = 1 + (scores > theirs).astype(jnp.int32) - (scores < theirs)
    gain = jnp.where(jnp.isfinite(scores + theirs), 1 + half, 4)  # 1 a loss, 3 a win, 4 no score
    # One sum over the listings of a player: opponent and gain at once; a bye leaves 0.
    sides = 8 * state.matches[..., ::-1] + gain
    listed = lambda x: x.reshape(*batch, n - n % 2)
    found = places.to_players(n, listed(state.matches), listed(sides))
    bye, opponent = found == 0, found // 8
    again = sum(opponent == earlier for earlier in state.opponents)
    mine = jnp.arange(n, dtype=jnp.int32)
    gain = jnp.where(bye, 3, found % 8)
    return _paired(
        dataclasses.replace(
            state,
            points=state.points + jnp.where(gain > 3, VOID, gain - 1),
            opponents=(*state.opponents, jnp.where(bye | (again > 0), mine, opponent)),
        )
    )


def read(state, scores):
    """Records the round from what everyone gets against everyone, [..., N, N]."""
    return record(state, places.met(scores, state.matches))


def rank(state):
    """Competition ranks [..., N] int32 by points, then Buchholz: the points of those met."""
    n = state.points.shape[-1]
    buchholz = 0
    if state.opponents:
        met = jnp.stack(state.opponents, -2)
        worth = places.taken(state.points[..., None, :], met)
        buchholz = jnp.where(met == jnp.arange(n), 0, worth).sum(-2)
    return places.voided(places.shared(state.points * 4096 + buchholz), (state.points < 0).any(-1))


def _paired(state):
    """With the matches of the round about to be played.

    Players by points, then lot; if N is odd the last one sits out; from the top each is paired
    with the first one free that it has not met, or, if it has met all, with the first one free.
    Who is free and who was met are words of bits by place, so that a step costs a few operations.
    """
    *batch, n = state.points.shape
    if len(state.opponents) == state.lots.shape[-2]:
        return dataclasses.replace(state, matches=jnp.zeros((*batch, 0, 2), jnp.int32))
    lot = places.distinct(state.lots[..., len(state.opponents), :], drop=6)
    place = places.shared(~(((63 - state.points).astype(jnp.uint32) << 26) | lot))
    player = places.holders(place, range(n))
    if not state.opponents:  # nobody has met: each plays the next one
        matches = player[..., : n - n % 2].reshape(*batch, n // 2, 2)
        return dataclasses.replace(state, matches=matches)
    words = -(-n // WORD)
    known = jnp.zeros((*batch, n, words), jnp.uint32)
    for opponent in state.opponents:
        known |= _bit(places.taken(place, opponent), words)

    def pair(free, _):
        first = _lowest(free)
        who = places.taken(player, first)
        met = jnp.take_along_axis(known, who[..., None], -2, mode="promise_in_bounds")[..., 0, :]
        free &= ~_bit(first, words)[..., 0, :]
        new = free & ~met
        second = _lowest(jnp.where((new > 0).any(-1, keepdims=True), new, free))
        both = jnp.concatenate([who, places.taken(player, second)], -1)
        return free & ~_bit(second, words)[..., 0, :], both

    everyone = _bit(jnp.arange(n - n % 2, dtype=jnp.int32), words).sum(-2, dtype=jnp.uint32)
    free = jnp.broadcast_to(everyone, (*batch, words))
    matches = jax.lax.scan(pair, free, length=n // 2)[1]
    return dataclasses.replace(state, matches=jnp.moveaxis(matches, 0, -2))


def _bit(place, words):
    """The words [..., words] uint32 that hold one bit, of `place` [...]."""
    bit = jnp.uint32(1) << (place % WORD).astype(jnp.uint32)
    here = (place // WORD)[..., None] == jnp.arange(words)
    return jnp.where(here, bit[..., None], jnp.uint32(0))


def _lowest(words):
    """The lowest place whose bit is set, in [..., words] uint32: [..., 1] int32."""
    trailing = jax.lax.population_count((words & -words) - 1).astype(jnp.int32)
    start = WORD * jnp.arange(words.shape[-1], dtype=jnp.int32)
    return jnp.where(words > 0, start + trailing, FAR).min(-1, keepdims=True)
