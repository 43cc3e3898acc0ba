"""The process-aware pairwise judge: two transcripts of one query, shown in both orders.

    compare = functools.partial(pairwise.compare, Judge(model, RUBRICS["travel"]))
    compared = await compare([(transcript_i, transcript_j), …])

ArenaRL, arXiv:2601.06487, eq. 3. A call gives each side 0 to 10 in steps of 0.1. After judge.tries
unreadable replies an order counts (5.0, 5.0). The judge's own combined_scores are what counts, as
in the paper; where they do not follow from its dimensions that is counted as `miscounted`.
"""

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
    counts["miscounted"] += sum(_miscounted(r, *value) for value in values if value)
    told = np.array([value is not None for value in values], bool).reshape(-1, 2)
    tenths = [value[0] if value else (10 * r.neutral,) * 2 for value in values]
    calls = np.array(tenths, np.float64).reshape(-1, 2, 2) / 10
    calls[:, 1] = calls[:, 1, ::-1]  # of the swapped order: back to the contestants as listed
    return Compared(calls, counts + tally(calls, told))


def _miscounted(r, scores, verdict):
    """Whether an agent's dimensions, where all are given, combine to other than its score."""
    for agent, score in zip(AGENTS, scores, strict=True):
        given = {
            key: verdicts.dimensions(verdict, f"{key}_scores", agent, half.names, r.low, r.high)
            for key, half in r.halves
        }
        if all(given.values()) and rubric.combined(r, given) != score:
            return True
    return False
