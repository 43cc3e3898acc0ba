"""A list of players with what each has scored, and a round between its neighbours."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxrl.ops.tournaments import places


class Entries(NamedTuple):
    """Players in listed order: n of them, the same number in every group."""

    player: Array  # [..., n] int32, below 2¹⁶
    total: Array  # [..., n] f32: sum of the scores so far
    count: Array  # [..., n] int32: how many they are; [..., 1] where all have as many

    def take(self, index):
        """Those at the positions `index` [..., m]. Player and count travel as one number."""
        total = places.taken(self.total, index)
        if self.count.shape[-1] == 1:
            return Entries(places.taken(self.player, index), total, self.count)
        both = places.taken(self.player + (self.count << 16), index)
        return Entries(both & 0xFFFF, total, both >> 16)

    def part(self, start, stop):
        """Those from the position `start` to the one before `stop`."""
        count = self.count if self.count.shape[-1] == 1 else self.count[..., start:stop]
        return Entries(self.player[..., start:stop], self.total[..., start:stop], count)


def joined(*lists):
    """One list after the other."""
    return Entries(*(jnp.concatenate(xs, -1) for xs in zip(*lists, strict=True)))


def neighbours(entries):
    """The matches [..., ⌊n/2⌋, 2] int32 of first with second, third with fourth, …"""
    *batch, n = entries.player.shape
    return entries.player[..., : n - n % 2].reshape(*batch, n // 2, 2)


def play(entries, scores, *, second_wins_ties=False):
    """(those who go on, those who lost), in listed order; an odd one out goes on, listed first.

    scores: [..., ⌊n/2⌋, 2], in the order of `neighbours`, in the units of `total`.
    """
    *batch, n = entries.player.shape
    m = n // 2
    beat = jnp.greater if second_wins_ties else jnp.greater_equal
    lost = 1 - beat(scores[..., 0], scores[..., 1]).astype(jnp.int32)  # by the first: 0 or 1
    first = 2 * jnp.arange(m, dtype=jnp.int32)
    odd = jnp.full((*batch, n % 2), n - 1, jnp.int32)
    order = jnp.concatenate([odd, first + lost, first + 1 - lost], -1)
    gained = jnp.pad(scores.reshape(*batch, 2 * m), [(0, 0)] * len(batch) + [(0, n % 2)])
    played = entries.count + (jnp.arange(n) < 2 * m if n % 2 else 1)
    entries = Entries(entries.player, entries.total + gained, played).take(order)
    return entries.part(0, n - m), entries.part(n - m, n)


def placed(rank, losers, best, *, by_sum=False):
    """rank [..., N] with the losers of a round at best, best + 1, … by their mean score (or sum).

    Ties stand in listed order. A total that is not finite is placed below 0.
    """
    same = by_sum or losers.count.shape[-1] == 1  # then sums stand as means do
    inside = places.split(losers.total, None if same else losers.count)
    n = rank.shape[-1]
    place = jnp.where(jnp.isfinite(losers.total), best + inside, -n)
    return rank + places.to_players(n, losers.player, place)


def ranked(rank, last):
    """The final ranks: all −1 where one of the losers, or one of the last players, has no total."""
    return places.voided(rank, (rank < 0).any(-1) | ~jnp.isfinite(last.total).all(-1))
