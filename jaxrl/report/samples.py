"""Which tasks and rollouts the report shows, and how: the records a template can print."""

import itertools
import math

import numpy as np

from jaxrl.report.excerpts import visible

ROLLOUTS = 4  # of the best, and of the worst
TOKENS = 600  # of one rollout: its beginning and its end
CHARS = 600  # of one cell of the before/after table
PAIRS = 12
LEVELS = 4  # shades of the advantage scale on each side of zero
LIKELY = (0.9, 0.5, 0.1)  # token probabilities at which the underline changes
KINDS = {  # by what an evaluation measures
    "accuracy": ("now right", "now wrong", "still wrong", "still right"),
    "reward": ("better", "worse", "equal"),
}

SAID = {"accuracy": "accuracy", "reward": "utility"}  # a judge's reward is never held out


def held_out(evals):
    """One held-out set: its first and last evaluation, and tasks whose fate tells them apart."""
    before, after = evals[0], evals[-1] if len(evals) > 1 else None
    measure = measured(before)
    pairs = _pairs(before, after, measure) if after else []
    kinds = {kind: [pair for pair in pairs if pair["kind"] == kind] for kind in KINDS[measure]}
    return {
        "measure": measure,
        "name": before["name"],
        "n": before["n"],
        "before": before,
        "after": after,
        "change": after[measure] - before[measure] if after else None,
        "counts": {kind: len(rows) for kind, rows in kinds.items()},
        "compared": len(pairs),
        "pairs": _in_turn(kinds, PAIRS),
        "rows": [] if after else [_answered(row) for row in before["rows"][:PAIRS]],
    }


def measured(row):
    """What a row of eval.jsonl measures: accuracy, reward where tasks have degrees, or None."""
    return next((key for key in KINDS if row.get(key) is not None), None)  # null: an empty set


def extremes(rollouts):
    """(best, worst) rollouts of different tasks: by reward, then by how far from their group's.

    A judge's reward compares members of one group alone: episodes go by their utility first.
    """
    scored = [row for row in rollouts if row["reward"] is not None]
    advantage = lambda row: float(np.mean(row["advantage"]))
    worth = lambda row: row["reward"] if row.get("utility") is None else row["utility"]
    key = lambda row: (worth(row), row["reward"], advantage(row), row["step"])
    ranked = sorted(scored, key=key, reverse=True)
    best = _distinct(ranked, ROLLOUTS)
    taken = [id(row) for row in best]
    return best, _distinct([r for r in reversed(ranked) if id(r) not in taken], ROLLOUTS)


def largest_advantage(rollouts):
    """The largest |advantage| of their tokens, 0 without any: the end of the colour scale."""
    return max((float(np.abs(row["advantage"]).max(initial=0)) for row in rollouts), default=0.0)


def coloured(row, scale):
    """A rollout with one (text, classes, hover text) per token, its middle cut out if too long."""
    advantages = np.broadcast_to(np.asarray(row["advantage"], float), len(row["pieces"]))
    tokens = [
        token(piece, logp, float(a), scale)
        for piece, logp, a in zip(row["pieces"], row["logp"], advantages, strict=True)
    ]
    half = TOKENS // 2
    cut = max(0, len(tokens) - TOKENS)
    return row | {
        "advantage": float(np.mean(advantages)) if len(tokens) else 0.0,
        "head": tokens[:half] if cut else tokens,
        "tail": tokens[-half:] if cut else [],
        "cut": cut,
        "length": len(tokens),
    }


def token(piece, logp, advantage, scale):
    """One token: its text, the classes of its colours, and what hovering over it tells."""
    level = math.ceil(LEVELS * abs(advantage) / scale) if scale else 0
    shade = f"{'p' if advantage > 0 else 'n'}{level}" if level else "zero"
    chance = math.exp(logp) if logp is not None else 0.0
    line = sum(chance < limit for limit in LIKELY)
    said = f"log-prob {logp:.3f}, p = {chance:.3g}" if logp is not None else "log-prob unknown"
    text = visible(piece).replace("\n", "↵\n") or "∅"  # an empty or blank token must be seen
    return text, f"{shade} u{line}", f"{said}; advantage {advantage:+.3f}"


def _pairs(before, after, measure):
    """Tasks evaluated both times, matched by prompt; those that changed most first."""
    first = {row["prompt"]: _answered(row) for row in before["rows"]}
    both = [
        (first[row["prompt"]], _answered(row)) for row in after["rows"] if row["prompt"] in first
    ]
    if measure == "reward":
        both.sort(key=lambda pair: -abs(_gain(*pair)))
    return [{"kind": _kind(a, b, measure), "before": a, "after": b} for a, b in both]


def _kind(a, b, measure):
    if measure == "reward":
        return "better" if _gain(a, b) > 0 else "worse" if _gain(a, b) < 0 else "equal"
    change = "still" if a["right"] == b["right"] else "now"
    return f"{change} {'right' if b['right'] else 'wrong'}"


def _gain(a, b):
    return (b["score"] or 0) - (a["score"] or 0)


def _answered(row):
    """Right is full marks: a partial score does not count as correct."""
    prompt, response, answer = (str(row[key]).strip() for key in ("prompt", "response", "answer"))
    if len(prompt) > CHARS:  # a few-shot prompt asks at its end
        prompt = f"({len(prompt) - CHARS:,} characters) … {prompt[-CHARS:]}"
    if len(response) > CHARS:
        response = f"{response[:CHARS]} … ({len(response) - CHARS:,} characters)"
    right = row["score"] is not None and row["score"] >= 1
    if len(answer) > CHARS:
        answer = f"{answer[:CHARS]} … ({len(answer) - CHARS:,} characters)"
    shown = {"prompt": prompt, "response": response, "answer": answer}
    shown = {key: visible(text) for key, text in shown.items()}
    return shown | {"score": row["score"], "right": right}


def _in_turn(kinds, limit):
    """One of each kind, then a second of each, until the limit; then kept together by kind."""
    turns = itertools.chain.from_iterable(itertools.zip_longest(*kinds.values()))
    chosen = list(itertools.islice((pair for pair in turns if pair), limit))
    return sorted(chosen, key=lambda pair: list(kinds).index(pair["kind"]))


def _distinct(rows, limit):
    first = {row["task"]: row for row in reversed(rows)}  # the earliest of a task wins
    kept = [row for row in rows if first[row["task"]] is row]
    return kept[:limit]
