"""A list of players with what each has scored, and a round between its neighbours."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrl.ops.tournaments import places


class Entries(NamedTuple):
    """Players in listed order: n of them, the same number in every group."""

    player: Array  # [n, ...] int32
    total: Array  # [n, ...] f32: sum of the scores so far
    count: Array  # [n, ...] f32: how many they are

    def take(self, index):
        """Those at `index`: a slice, or an array [m, ...] of positions."""
        if isinstance(index, slice):
            return Entries(*(x[index] for x in self))
        return Entries(*(jnp.take_along_axis(x, index, 0, mode="promise_in_bounds") for x in self))


def joined(*lists):
    """One list after the other."""
    return Entries(*(jnp.concatenate(xs) for xs in zip(*lists, strict=True)))


def neighbours(entries):
    """The matches [⌊n/2⌋, 2, ...] int32 of first with second, third with fourth, …"""
    m = len(entries.player) // 2
    return jnp.stack([entries.player[0 : 2 * m : 2], entries.player[1 : 2 * m : 2]], 1)


def play(entries, scores, *, second_wins_ties=False):
    """(those who go on, those who lost), in listed order; an odd one out goes on, listed first.

    scores: [⌊n/2⌋, 2, ...], in the order of `neighbours`, in the units of `total`.
    """
    m = len(scores)
    beat = jnp.greater if second_wins_ties else jnp.greater_equal
    won = beat(scores[:, 0], scores[:, 1])
    met = lambda side: entries.take(slice(side, 2 * m, 2))
    scored = lambda e, s: Entries(e.player, e.total + s, e.count + 1)
    first, second = scored(met(0), scores[:, 0]), scored(met(1), scores[:, 1])
    choose = lambda first, second: jnp.where(won, first, second)
    winners, losers = jax.tree.map(choose, first, second), jax.tree.map(choose, second, first)
    return joined(entries.take(slice(2 * m, None)), winners), losers


def placed(rank, losers, best, *, by_sum=False):
    """rank [N, ...] with the losers of a round at best, best + 1, … by their mean score (or sum).

    Ties stand in listed order.
    """
    inside = places.split(losers.total, None if by_sum else losers.count)
    return rank + places.to_players(len(rank), losers.player, best + inside)
