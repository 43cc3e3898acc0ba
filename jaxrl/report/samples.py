"""Which tasks and rollouts the report shows, and how: the records a template can print."""

import itertools
import math

import numpy as np

ROLLOUTS = 4  # of the best, and of the worst
TOKENS = 600  # of one rollout: its beginning and its end
CHARS = 600  # of one cell of the before/after table
PAIRS = 12
LEVELS = 4  # shades of the advantage scale on each side of zero
LIKELY = (0.9, 0.5, 0.1)  # token probabilities at which the underline changes
KINDS = ("now right", "now wrong", "still wrong", "still right")


def held_out(evals):
    """One held-out set: its first and last evaluation, and tasks whose fate tells them apart."""
    before, after = evals[0], evals[-1] if len(evals) > 1 else None
    pairs = list(_pairs(before, after)) if after else []
    kinds = {kind: [pair for pair in pairs if pair["kind"] == kind] for kind in KINDS}
    return {
        "name": before["name"],
        "n": before["n"],
        "before": before,
        "after": after,
        "change": 100 * (after["accuracy"] - before["accuracy"]) if after else None,
        "counts": {kind: len(rows) for kind, rows in kinds.items()},
        "compared": len(pairs),
        "pairs": _in_turn(kinds.values(), PAIRS),
        "rows": [] if after else [_answered(row) for row in before["rows"][:PAIRS]],
    }


def extremes(rollouts):
    """(best, worst) rollouts of different tasks: by reward, then by how far from their group's."""
    scored = [row for row in rollouts if row["reward"] is not None]
    advantage = lambda row: float(np.mean(row["advantage"]))
    key = lambda row: (row["reward"], advantage(row), row["step"])
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
        _token(piece, logp, float(a), scale)
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


def _pairs(before, after):
    """Tasks evaluated both times, matched by prompt."""
    first = {row["prompt"]: _answered(row) for row in before["rows"]}
    for row in after["rows"]:
        if row["prompt"] in first:
            a, b = first[row["prompt"]], _answered(row)
            change = "still" if a["right"] == b["right"] else "now"
            yield {
                "kind": f"{change} {'right' if b['right'] else 'wrong'}",
                "before": a,
                "after": b,
            }


def _answered(row):
    """Right is full marks: a partial score does not count as correct."""
    prompt, response, answer = (str(row[key]).strip() for key in ("prompt", "response", "answer"))
    if len(prompt) > CHARS:  # a few-shot prompt asks at its end
        prompt = f"({len(prompt) - CHARS:,} characters) … {prompt[-CHARS:]}"
    if len(response) > CHARS:
        response = f"{response[:CHARS]} … ({len(response) - CHARS:,} characters)"
    right = row["score"] is not None and row["score"] >= 1
    shown = {"prompt": prompt, "response": response, "answer": answer}
    return shown | {"score": row["score"], "right": right}


def _in_turn(kinds, limit):
    """One of each kind, then a second of each, until the limit; then kept together by kind."""
    turns = itertools.chain.from_iterable(itertools.zip_longest(*kinds))
    chosen = list(itertools.islice((pair for pair in turns if pair), limit))
    return sorted(chosen, key=lambda pair: KINDS.index(pair["kind"]))


def _distinct(rows, limit):
    first = {row["task"]: row for row in reversed(rows)}  # the earliest of a task wins
    kept = [row for row in rows if first[row["task"]] is row]
    return kept[:limit]


def _token(piece, logp, advantage, scale):
    level = math.ceil(LEVELS * abs(advantage) / scale) if scale else 0
    shade = f"{'p' if advantage > 0 else 'n'}{level}" if level else "zero"
    chance = math.exp(logp) if logp is not None else 0.0
    line = sum(chance < limit for limit in LIKELY)
    said = f"log-prob {logp:.3f}, p = {chance:.3g}" if logp is not None else "log-prob unknown"
    visible = piece.replace("\n", "↵\n") or "∅"  # an empty or blank token must be seen
    return visible, f"{shade} u{line}", f"{said}; advantage {advantage:+.3f}"
