"""A seeding round against the anchor, then a bracket: (N − 1) + (N − 1) matches.

ArenaRL's own topology (arXiv:2601.06487, Algorithm 1). `init` follows the authors' released code,
`as_printed` their paper, which differ in the order of the bracket, in who wins a tie and in the key
inside a tier (mean score; accumulated score). At N = 16 the printed bracket lets seeds 1 and 3 meet
in its second round. The paper has powers of 2 only; other N leave the missing seeds out of the
bracket, pair neighbours, and list the odd one out first in the next round.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import Array

from jaxrl.ops.tournaments import anchor, places
from jaxrl.ops.tournaments.entries import Entries, neighbours, placed, play, ranked


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Bracket:
    """Those still in, in bracket order; totals are (N − 1) times the scores, as the anchor's."""

    alive: Entries  # [..., n]; all players, in no order, before the seeding
    rank: Array  # [..., N] int32: of those out; 0 for the others
    seeded: bool = dataclasses.field(metadata={"static": True})
    printed: bool = dataclasses.field(metadata={"static": True})


def init(n, key=None, batch=(), *, printed=False):
    """Nobody seeded. Nothing here is random: the key is idle."""
    places.check_size(n)
    player = jnp.broadcast_to(jnp.arange(n, dtype=jnp.int32), (*batch, n))
    alive = Entries(player, jnp.zeros(player.shape), jnp.ones_like(player[..., :1]))
    return Bracket(alive, jnp.zeros_like(player), n == 1, printed)


as_printed = functools.partial(init, printed=True)


def pairs(state):
    """The round's matches [..., M, 2] int32; in the seeding all against player 0, listed second."""
    *batch, n = state.rank.shape
    return neighbours(state.alive) if state.seeded else anchor.matches(n - 1, batch)


def record(state, scores):
    """Takes what both sides of each match got, [..., M, 2]."""
    scores = places.check_scores(pairs(state), scores)
    n = state.rank.shape[-1]
    if not state.seeded:
        return dataclasses.replace(state, alive=_seed(state, scores), seeded=True)
    alive, losers = play(state.alive, (n - 1) * scores, second_wins_ties=state.printed)
    rank = placed(state.rank, losers, alive.player.shape[-1], by_sum=state.printed)
    return dataclasses.replace(state, alive=alive, rank=rank)


def read(state, scores):
    """Records the round from what everyone gets against everyone, [..., N, N]."""
    if not state.seeded:
        return record(state, anchor.met(scores))
    return record(state, places.met(scores, pairs(state)))


def rank(state):
    """Ranks [..., N] int32, no ties: by depth, then by the scores of all matches."""
    return ranked(state.rank, state.alive)


def bracket(n, printed=False):
    """Which seed (from 0) stands at each place of the first round, as a tuple of n."""
    size = 1 << (n - 1).bit_length()
    return tuple(seed for seed in (_printed if printed else _standard)(size) if seed < n)


def _standard(size):
    if size == 1:
        return [0]
    return [seed for best in _standard(size // 2) for seed in (best, size - 1 - best)]


def _printed(size):
    """Pairs (k, last − k) fill the list from both ends in turn."""
    pairs = [(k, size - 1 - k) for k in range(size // 2)] or [(0,)]
    return [seed for pair in pairs[0::2] + pairs[1::2][::-1] for seed in pair]


def _seed(state, scores):
    """The players in bracket order, each with its seeding score; ties by index."""
    total = anchor.seeding(scores)
    n = total.shape[-1]
    order = places.holders(places.split(total), bracket(n, state.printed))
    return Entries(order, places.taken(total, order), state.alive.count)
