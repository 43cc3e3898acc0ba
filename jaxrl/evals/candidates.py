"""hit@1 over candidate lists: each query has candidates of its own, and the best must be right.

    {"query": "…", "candidates": ["…", "…"], "positives": [0]}      a line

MMEB-V2 scores its image and video datasets so (arXiv:2507.04590; in UVRB, arXiv:2510.27571, it is
P@1). Where a wrong candidate scores as high as a right one the query is missed, so that a constant
encoder scores 0: not given in the paper; our choice.
"""

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxrl import json_lines
from jaxrl.ops import metrics
from jaxrl.retrieval import documents, encoders

KEYS = (("query",), ("candidates",), ("positives",))
TOGETHER = 256  # contents that the encoder is given at once


class Choice(NamedTuple):
    """A query and what may answer it."""

    query: str
    candidates: list[str]
    positives: list[int]  # which candidates do


def read(path):
    """The Choices of a .jsonl file; ValueError that lists its broken lines."""
    found, broken = [], []
    for number, line in enumerate(Path(path).read_bytes().splitlines(), start=1):
        if line.strip():
            try:
                found.append(_choice(*documents.parse(line, KEYS)[1]))
            except ValueError as e:
                broken.append(f"line {number}: {e}")
    if broken:
        raise ValueError(json_lines.listing(path, broken))
    if not found:
        raise ValueError(f"{path} holds no line: there is nothing to choose from")
    return found


def evaluate(name, choices, encoder):
    """A row: task, metric "hit@1", n, value, low and high (its 95 % interval by Wilson's score)."""
    contents = list(dict.fromkeys(c for choice in choices for c in choice.candidates))
    number = {content: n for n, content in enumerate(contents)}
    documents_ND = _rows(encoder.documents, contents, encoder.dim)
    queries_QD = _rows(encoder.queries, [choice.query for choice in choices], encoder.dim)
    hits = [
        hit(documents_ND[[number[c] for c in choice.candidates]] @ query, choice.positives)
        for choice, query in zip(choices, queries_QD, strict=True)
    ]
    low, high = jax.device_get(metrics.wilson_interval(sum(hits), len(hits)))
    found = {"task": name, "metric": "hit@1", "n": len(hits), "value": float(np.mean(hits))}
    return found | {"low": float(low), "high": float(high)}


def hit(scores, positives):
    """Whether the best of [C] scores is a positive one, and no other reaches it."""
    best = np.flatnonzero(scores == scores.max())
    return bool(np.isin(best, positives).all())


def _choice(query, candidates, positives):
    if not isinstance(query, str) or not query.strip():
        raise ValueError(f"the query {query!r} is no text, or empty")
    texts = isinstance(candidates, list) and all(isinstance(c, str) and c for c in candidates)
    if not texts or not candidates:
        raise ValueError(f"the candidates {candidates!r} must be texts that are not empty")
    places = isinstance(positives, list) and all(type(p) is int for p in positives)
    if not places or not positives or not all(0 <= p < len(candidates) for p in positives):
        raise ValueError(f"the positives {positives!r} must be places of the candidates, from 0")
    return Choice(query, candidates, positives)


def _rows(function, contents, dim):
    parts = [contents[start : start + TOGETHER] for start in range(0, len(contents), TOGETHER)]
    rows = np.concatenate([encoders.encode(function, part, dim, part) for part in parts])
    if not np.isfinite(rows).all():
        wrong = contents[np.flatnonzero(~np.isfinite(rows).all(axis=1))[0]]
        raise ValueError(f"the row of {wrong!r} is not finite: mend the model or leave it out")
    return rows
