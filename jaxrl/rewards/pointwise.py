"""The rubric judge of one transcript at a time: the baseline of tournaments, and a reward alone.

    score = functools.partial(pointwise.score, Judge(model, rubric.answer_only(RUBRICS["travel"])))

ArenaRL's GRPO and GSPO baselines (arXiv:2601.06487) use the answer's half of the same rubric.
"""

import collections
from typing import NamedTuple

import numpy as np

from jaxrl.rewards import judge_prompts, rubric, verdicts
from jaxrl.rewards.judge import ask


class Scored(NamedTuple):
    """The outcome of M calls, one a transcript."""

    scores: np.ndarray  # [M] f64, in points
    counts: collections.Counter


async def score(judge, contestants, attempts):
    """Scores each transcript, all requests in one call of the model; unreadable: the middle.

    attempts: [M], how many times before each was asked for: a model needs no telling, and is asked
    anew. A score is the weighted mean of the halves' means, unrounded (not given in the paper).
    """
    r = judge.rubric
    asked = {f"{key}_scores": half.names for key, half in r.halves}
    requests = [judge_prompts.pointwise(r, x, judge.limits) for x in contestants]
    values, counts = await ask(
        judge, requests, lambda t: verdicts.pointwise(t, asked, r.low, r.high)
    )
    counts["neutral"] += sum(value is None for value in values)
    means = [r.neutral if value is None else _mean(r, value[0]) for value in values]
    return Scored(np.array(means, np.float64), counts)


def _mean(r, scores):
    return rubric.mean(r, {key: scores[f"{key}_scores"] for key, _ in r.halves})
