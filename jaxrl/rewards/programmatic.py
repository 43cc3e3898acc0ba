"""A judge without a model: true utility, and errors of a chosen size and kind.

    noise = Noise(seed=0, sigma=0.5, shared=0.5, bias=0.2)
    compare = functools.partial(programmatic.compare, noise)
    compared = await compare([(Contestant("t7/0", 1.3), Contestant("t7/4", 0.9)), …])

For experiments in which the truth must be known: `launch.bench judge_noise` simulates the same.
A call is a function of (seed, who is shown first, who second, attempt) alone: two players that meet
again get the same scores again, as from a judge at temperature 0.
"""

import collections
import dataclasses
import hashlib
import math
from typing import NamedTuple

import numpy as np

from jaxrl.rewards.comparisons import Compared, tally
from jaxrl.rewards.pointwise import Scored


class Contestant(NamedTuple):
    """One trajectory, by a name of its own in the whole batch, with its true utility."""

    name: str
    utility: float


@dataclasses.dataclass(frozen=True)
class Noise:
    """How the judge errs; sigma and bias in units of utility.

    s_k = u_k + σ (√(1 − shared) ε_k + √shared ε_call) + bias · [k is shown first]

    All ε are standard normal. What a call shares, its leniency, cancels in a comparison and not in
    a pointwise score; the bias cancels in the sum of both orders of a comparison.
    """

    seed: int
    sigma: float = 0.0
    shared: float = 0.0  # of the variance
    bias: float = 0.0

    def __post_init__(self):
        if not (self.sigma >= 0 and math.isfinite(self.sigma) and math.isfinite(self.bias)):
            raise ValueError(f"sigma={self.sigma}, bias={self.bias}: give finite numbers, σ ≥ 0")
        if not 0 <= self.shared <= 1:
            raise ValueError(f"shared={self.shared}: a share of the variance, from 0 to 1")


async def compare(noise, matches, attempt=0):
    """Judges all matches in both orders: Compared, with two calls a match."""
    calls = np.array(
        [(_call(noise, (i, j), attempt), _call(noise, (j, i), attempt)[::-1]) for i, j in matches],
        np.float64,
    ).reshape(-1, 2, 2)
    counts = tally(calls, np.ones(calls.shape[:2], bool))
    counts["calls"] = 2 * len(matches)
    return Compared(calls, counts)


async def score(noise, contestants, attempts):
    """One call for each contestant; calls of different `attempts` err anew: Scored."""
    scores = [_call(noise, (x,), n)[0] for x, n in zip(contestants, attempts, strict=True)]
    bare = np.array(scores, np.float64) - noise.bias  # nobody is shown second
    return Scored(bare, collections.Counter(calls=len(bare)))


def _call(noise, shown, attempt):
    """What those shown get, in the order shown."""
    for name, utility in shown:
        if not math.isfinite(utility):
            raise ValueError(f"utility={utility} of {name!r}: give None for a lost trajectory")
    who = repr((noise.seed, [name for name, _ in shown], attempt))
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(who.encode()).digest(), "big"))
    call, *own = rng.standard_normal(1 + len(shown))
    error = math.sqrt(1 - noise.shared) * np.array(own) + math.sqrt(noise.shared) * call
    scores = np.array([utility for _, utility in shown]) + noise.sigma * error
    scores[0] += noise.bias
    return scores
