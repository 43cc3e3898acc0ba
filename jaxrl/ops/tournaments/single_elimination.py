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
from jaxrl.ops.tournaments.entries import Entries, neighbours, placed, play


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Bracket:
    """Those still in, in bracket order; totals are (N − 1) times the scores, as the anchor's."""

    alive: Entries  # [n, ...]; all players, in no order, before the seeding
    rank: Array  # [N, ...] int32: of those out; 0 for the others
    void: Array  # [...] bool: a match had no score
    seeded: bool = dataclasses.field(metadata={"static": True})
    printed: bool = dataclasses.field(metadata={"static": True})


def init(n, key=None, batch=(), *, printed=False):
    """Nobody seeded. Nothing here is random: the key is idle."""
    places.check_size(n)
    player = jnp.broadcast_to(places.column(n, 1 + len(batch)), (n, *batch))
    alive = Entries(player, jnp.zeros((n, *batch)), jnp.ones((n, *batch)))
    rank = jnp.zeros((n, *batch), jnp.int32)
    return Bracket(alive, rank, jnp.zeros(batch, bool), n == 1, printed)


as_printed = functools.partial(init, printed=True)


def pairs(state):
    """The round's matches [M, 2, ...] int32; in the seeding all against player 0, listed second."""
    n, *batch = state.rank.shape
    return neighbours(state.alive) if state.seeded else anchor.matches(n - 1, batch)


def record(state, scores):
    """Takes what both sides of each match got, [M, 2, ...]."""
    scores = places.check_scores(pairs(state), scores)
    void = state.void | places.unscorable(scores)
    if not state.seeded:
        return dataclasses.replace(state, alive=_seed(state, scores), void=void, seeded=True)
    scores = (len(state.rank) - 1) * scores
    alive, losers = play(state.alive, scores, second_wins_ties=state.printed)
    rank = placed(state.rank, losers, len(alive.player), by_sum=state.printed)
    return dataclasses.replace(state, alive=alive, rank=rank, void=void)


def rank(state):
    """Ranks [N, ...] int32, no ties: by depth, then by the scores of all matches."""
    return places.voided(state.rank, state.void)


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
    n = len(state.rank)
    by_seed = places.listed(anchor.standing(scores, places.split))
    order = by_seed[jnp.array(bracket(n, state.printed))]
    total = jnp.concatenate([scores[:, 1].sum(0, keepdims=True), (n - 1) * scores[:, 0]])
    return Entries(state.alive.player, total, state.alive.count).take(order)
