"""Who says how good the episodes of a batch are: the env's program, or a judge in one of two ways.

env          the env's own reward
tournament   ranks of pairwise judgements (ArenaRL, arXiv:2601.06487)
pointwise    mean scores of the same judge, for as many calls as the tournament would make
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np

from jaxrl.chat.waiting import wait
from jaxrl.envs.base import choose
from jaxrl.ops.tournament import TOPOLOGIES
from jaxrl.rewards import arena, comparisons, pairwise, pointwise, programmatic
from jaxrl.rewards.judge import Judge
from jaxrl.rewards.rubric import RUBRICS

NAMES = ("env", "tournament", "pointwise")
JUDGES = ("program", "endpoint")


@dataclasses.dataclass(frozen=True)
class RewardConfig:
    """The `reward` keys of a config; configs/base.py says what they mean."""

    name: str = "env"
    topology: str = "single_elimination"
    judge: str = "program"
    sigma: float = 0.0
    shared: float = 0.0
    bias: float = 0.0
    rubric: str = "travel"
    tries: int = 10
    url: str = ""
    model: str = ""
    record: str = ""

    def __post_init__(self):
        choose("reward.name", self.name, NAMES)
        choose("reward.topology", self.topology, TOPOLOGIES)
        choose("reward.judge", self.judge, JUDGES)
        choose("reward.rubric", self.rubric, RUBRICS)
        if self.name != "env" and self.judge == "endpoint" and not (self.url or self.record):
            raise ValueError(
                "reward.judge='endpoint' with reward.url='': give the endpoint's address, or in "
                "reward.record a file of its replies"
            )
        programmatic.Noise(0, self.sigma, self.shared, self.bias)  # refuses what is no number


class Graded(NamedTuple):
    """What a grader made of E episodes."""

    reward: np.ndarray  # [E] f32, in the grader's unit; NaN = unscorable
    rank: np.ndarray | None = None  # [E] f32, 0 = best of its group; −1 = not ranked
    matches: tuple[arena.Match, ...] = ()
    metrics: dict[str, Any] = {}  # noqa: RUF012  (never changed)


class Grader:
    """Grades batches as `c` says. model: the chat model behind an endpoint judge, else None."""

    def __init__(self, c, seed, model=None):
        self._c, noise = c, programmatic.Noise(seed, c.sigma, c.shared, c.bias)
        if c.judge == "program":
            self._compare = functools.partial(programmatic.compare, noise)
            self._score = functools.partial(programmatic.score, noise)
        else:
            judge = Judge(model, RUBRICS[c.rubric], c.tries)
            self._compare = functools.partial(pairwise.compare, judge)
            self._score = functools.partial(pointwise.score, judge)

    def __call__(self, utility, transcripts, group, key, lot):
        """Grades E episodes.

        utility: [E] f32, the env's rewards, NaN for an episode that was lost. transcripts: a
        function of an episode's number that gives its rewards.transcript.Transcript. group: [E].
        key: of the tournament's shuffles. lot: text that no other batch has.
        """
        if self._c.name == "env":
            return Graded(np.asarray(utility, np.float32))
        shown = self._shown(utility, transcripts, lot)
        if self._c.name == "pointwise":
            scores, counts = wait(arena.pointwise(shown, group, self._score, self._c.topology))
            return Graded(scores, metrics=comparisons.metrics(counts))
        ranked = wait(arena.rank(shown, group, self._compare, self._c.topology, key))
        size = np.bincount(group, ranked.rank >= 0)[group]
        quantile = 1 - ranked.rank / np.maximum(size - 1, 1)
        reward = np.where(ranked.rank < 0, np.nan, quantile).astype(np.float32)
        return Graded(reward, ranked.rank, ranked.matches, comparisons.metrics(ranked.counts))

    def _shown(self, utility, transcripts, lot):
        lost = ~np.isfinite(utility)
        if self._c.judge == "program":
            name = lambda e: programmatic.Contestant(f"{lot}/{e}", float(utility[e]))
            return [None if lost[e] else name(e) for e in range(len(utility))]
        return [None if lost[e] else transcripts(e) for e in range(len(utility))]
