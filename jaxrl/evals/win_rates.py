"""How often a policy's trajectories beat stored baselines, by each criterion of a judge's rubric.

ArenaRL's evaluation (arXiv:2601.06487): wins over the cases that are not tied, and the share of
valid outputs apart, on which the win rates are conditioned. The paper averages two judges.
"""

import numpy as np

from jaxrl.evals import tables
from jaxrl.ops import metrics


async def against(baselines, transcripts, compare, criteria, valid=None):
    """One match a task, both orders summed: (rows, share of valid transcripts, counts).

    baselines, transcripts: [B] rewards.transcript.Transcript; compare: rewards.pairwise.compare
    with its judge; criteria: its rubric's; valid: [B] bool, those that have an answer if not given.
    Rows: criterion ("combined" first), wins, losses, ties, and win_rate with its 95 % interval
    (low, high); NaN where all are tied.
    """
    valid = [bool(t.answer.strip()) for t in transcripts] if valid is None else valid
    pairs = zip(transcripts, baselines, strict=True)
    compared = await compare([pair for pair, ok in zip(pairs, valid, strict=True) if ok])
    scores = compared.criteria.sum(1)  # [M, 2, K]; a criterion missing in one order is NaN
    rows = [_row("combined", compared.scores)]
    rows += [_row(name, scores[..., k]) for k, name in enumerate(criteria)]
    return rows, float(np.mean(valid)) if valid else np.nan, compared.counts


def text(found, heads):
    """A Markdown table in percent, as the paper's: criteria, their mean, and valid outputs.

    found: {policy: (rows of each judge, share of valid)}, the judges averaged; heads: {criterion:
    as a column is headed}.
    """
    lines = {}
    for policy, (judges, valid) in found.items():
        won = [{row["criterion"]: row["win_rate"] for row in rows} for rows in judges]
        rates = [np.mean([rates[name] for rates in won]) for name in heads]
        whole = np.mean([rates["combined"] for rates in won])
        lines[policy] = [100 * x for x in (*rates, np.mean(rates), whole, valid)]
    return tables.markdown("policy", [*heads.values(), "mean", "combined", "valid"], lines)


def _row(name, scores):
    """scores: [M, 2], ours first; a match in which one is NaN is left out."""
    ours, theirs = scores[np.isfinite(scores).all(1)].T
    wins, losses = int((ours > theirs).sum()), int((ours < theirs).sum())
    rate = wins / (wins + losses) if wins + losses else np.nan
    low, high = map(float, metrics.wilson_interval(wins, wins + losses))
    counted = {"criterion": name, "wins": wins, "losses": losses, "ties": len(ours) - wins - losses}
    return counted | {"win_rate": rate, "low": low, "high": high}
