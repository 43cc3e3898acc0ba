"""Ranks of a group by pairwise matches, in ArenaRL's five topologies, and what a rank is worth.

    state = TOPOLOGIES["swiss"].init(16, key)
    while (matches := TOPOLOGIES["swiss"].pairs(state)).size:  # [M, 2] players
        state = TOPOLOGIES["swiss"].record(state, judge(matches))  # [M, 2] what each got
    rank = TOPOLOGIES["swiss"].rank(state)                       # [N], 0 = best

A live judge drives the machines so; `rank` drives the same ones over a tensor of scores. M depends
on N and the round alone, so a machine jits, and groups may stand on leading axes (or under vmap).
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl.ops.tournaments import (
    anchor,
    double_elimination,
    round_robin,
    single_elimination,
    swiss,
)


class Topology(NamedTuple):
    """Functions over one frozen state. Arrays may have leading axes: one entry a group.

    init(n, key=None, batch=()) -> state; pairs(state) -> [M, 2] int32, empty when all is played;
    record(state, scores [M, 2]) -> state; rank(state) -> [n] int32, 0 = best, −1 = unscorable.
    read(state, scores [n, n]) -> state records the same round from a tensor of all scores.
    """

    init: Callable
    pairs: Callable
    record: Callable
    read: Callable
    rank: Callable


def _machine(module, init):
    return Topology(init, module.pairs, module.record, module.read, module.rank)


TOPOLOGIES = {
    "anchor": _machine(anchor, anchor.init),
    "round_robin": _machine(round_robin, round_robin.init),
    "round_robin_paper": _machine(round_robin, round_robin.as_printed),
    "swiss": _machine(swiss, swiss.init),
    "double_elimination": _machine(double_elimination, double_elimination.init),
    "single_elimination": _machine(single_elimination, single_elimination.init),
    "single_elimination_paper": _machine(single_elimination, single_elimination.as_printed),
}


def rank(topology, scores, *, key=None):
    """Ranks each group by the matches that the topology asks for, and counts them.

    ArenaRL, arXiv:2601.06487. Ties share the better rank in `anchor`, `round_robin`
    and `swiss`; the eliminations have none. A score that is not finite in a match that is played
    makes the whole group −1; the diagonal and matches not played are never read. Scores tie where
    their f32 values do: give tenths times ten. key: for the shuffles of `swiss` and
    `double_elimination`; None leaves players in listed order.

    scores: [..., N, N], what i gets when it meets j, both orders of the judge summed; 0 the anchor.
    returns: (rank [..., N] int32, 0 = best; comparisons of one group, int: 2 judge calls each).
    """
    machine = find(topology)
    scores = jnp.asarray(scores, jnp.float32)
    *batch, n, _ = scores.shape if scores.ndim > 1 else (0, 0)
    if scores.ndim < 2 or scores.shape[-2] != scores.shape[-1] or n < 1:
        raise ValueError(f"scores of shape {scores.shape}: give [..., N, N] with N of 1 or more")
    state, comparisons = machine.init(n, key, batch), 0
    while matches := machine.pairs(state).shape[-2]:
        state = machine.read(state, scores)
        comparisons += matches
    return machine.rank(state), comparisons


@functools.cache
def comparisons(topology, n):
    """How many matches a group of n plays: 2 judge calls each."""
    counted = []
    scores = jax.ShapeDtypeStruct((n, n), jnp.float32)
    jax.eval_shape(lambda s: counted.append(rank(topology, s)[1]), scores)
    return counted[0]


def find(topology):
    """The machine of a name; an unknown one is a KeyError that lists all."""
    if topology not in TOPOLOGIES:
        raise KeyError(f"topology={topology!r} is unknown: give one of {', '.join(TOPOLOGIES)}")
    return TOPOLOGIES[topology]


def rank_reward(rank, *, ties="mean"):
    """The quantile reward of a rank.

        r_i = 1 − Rank_i / (N − 1)          ties "mean": tied ranks share the mean of their slots
        r_i = 1 − Rank_i / max_j Rank_j     ties "min": they keep the better one; all tied: 0

    ArenaRL, arXiv:2601.06487, eq. 6. The paper has no ties; its code takes "mean" for
    Swiss and "min" for anchor and round-robin. N = 1 gives 1. Rank −1 (unscorable) gives NaN.

    rank: [..., N] int32, competition ranks from 0.  returns: [..., N] f32.
    """
    if ties not in ("mean", "min"):
        raise ValueError(f"ties={ties!r}: give mean or min")
    rank = jnp.asarray(rank)
    place = rank.astype(jnp.float32)
    worst = jnp.maximum(rank.shape[-1] - 1, 1)
    best = 1.0
    if ties == "mean":
        tied = (rank[..., :, None] == rank[..., None, :]).sum(-1)
        place += (tied - 1) / 2
    else:
        last = place.max(-1, keepdims=True)
        worst, best = jnp.maximum(last, 1), jnp.where((last > 0) | (rank.shape[-1] == 1), 1.0, 0.0)
    return jnp.where(rank < 0, jnp.nan, best - place / worst)


def rank_advantage(rank, *, ties="mean", ddof=1, eps=1e-6):
    """ArenaRL's advantage of each member of whole groups.

        A_i = (r_i − μ) / (σ + ε),   r = rank_reward(rank)

    ArenaRL, arXiv:2601.06487, eq. 7; ddof and ε as in its code. Without ties the set of
    values depends on N alone. 0 where N = 1, all tie, or the group is unscorable.

    rank: [..., N] int32.  returns: [..., N] f32.
    """
    rank = jnp.asarray(rank)
    rewards = jnp.where(rank < 0, 0, rank_reward(rank, ties=ties))
    deviation = rewards - rewards.mean(-1, keepdims=True)
    n = max(rank.shape[-1] - ddof, 1)
    return deviation / (jnp.sqrt(jnp.square(deviation).sum(-1, keepdims=True) / n) + eps)
