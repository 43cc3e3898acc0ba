"""The process-aware pairwise judge: two transcripts of one query, shown in both orders.

    compare = functools.partial(pairwise.compare, Judge(model, RUBRICS["travel"]))
    compared = await compare([(transcript_i, transcript_j), …])

ArenaRL, arXiv:2601.06487, eq. 3. A call gives each side 0 to 10 in steps of 0.1. After judge.tries
unreadable replies an order counts (5.0, 5.0). The judge's own combined_scores are what counts, as
in the paper; where they do not follow from its dimensions that is counted as `miscounted`.
"""

import functools

import numpy as np

from jaxrl.rewards import judge_prompts, rubric, verdicts
from jaxrl.rewards.comparisons import Compared, tally
from jaxrl.rewards.judge import ask

AGENTS = ("Agent_A", "Agent_B")


async def compare(judge, matches):
    """Judges all matches in both orders, all 2M requests in one call of the model: Compared."""
    for i, j in matches:
        if i.query != j.query:
            raise ValueError(
                f"query={i.query[:80]!r} meets query={j.query[:80]!r}: a match is of one query"
            )
    r = judge.rubric
    requests = [
        judge_prompts.pairwise(r, *shown, judge.limits)
        for i, j in matches
        for shown in ((i, j), (j, i))
    ]
    values, counts = await ask(judge, requests, lambda t: verdicts.pairwise(t, r.low, r.high))
    tenths = [value[0] if value else (10 * r.neutral,) * 2 for value in values]
    told = np.array([value is not None for value in values], bool).reshape(-1, 2)
    calls = _by_contestant(np.array(tenths, np.float64).reshape(-1, 2, 2) / 10)
    criteria = [_criteria(r, value[1] if value else {}) for value in values]
    counts["miscounted"] += sum(map(functools.partial(_miscounted, r), tenths, criteria))
    criteria = np.array(criteria, np.float64).reshape(-1, 2, 2, len(r.criteria))
    return Compared(calls, counts + tally(calls, told), _by_contestant(criteria))


def _by_contestant(calls):
    """[M, order, agent, …] -> [M, order, contestant, …]: in the swapped order A is the second."""
    return np.stack([calls[:, 0], calls[:, 1, ::-1]], 1)


def _criteria(r, verdict):
    """[2, K]: what each agent got on each dimension; NaN where the verdict does not say."""
    asked = [(f"{key}_scores", name) for key, half in r.halves for name in half.names]
    read = lambda key, agent, name: verdicts.dimension(verdict, key, agent, name, r.low, r.high)
    return [[read(key, agent, name) for key, name in asked] for agent in AGENTS]


def _miscounted(r, tenths, criteria):
    """Whether an agent's dimensions, where all are given, combine to other than its score."""
    return any(
        np.isfinite(given).all() and rubric.combined(r, _halves(r, given)) != score
        for score, given in zip(tenths, criteria, strict=True)
    )


def _halves(r, given):
    rest = iter(given)
    return {key: [next(rest) for _ in half.names] for key, half in r.halves}
