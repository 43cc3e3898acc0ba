"""Hard negatives that are no hidden positives: what an embedder finds for a query below its answer.

    found = mine(rows, open_encoder, MiningConfig())      rows: of data.embedding_rows.read_rows

By Qwen3-VL-Embedding (arXiv:2601.04720), one sub-dataset (here: source) at a time,

    cand = top-K of cos(e_q, e_C);   q stays if a positive d⁺ in cand has s(q,d⁺) > t⁺
    negatives = { d in cand, no positive : s(q,d) < a s̄ + δ⁻ },   s̄ = mean of those s(q,d⁺)

with a = 1. a = 0.95 and δ⁻ = 0 is TopK-PercPos of NV-Retriever (arXiv:2407.15831), a = 1 and δ⁻ < 0
its TopK-MarginPos, both of which know one positive. GVE (arXiv:2510.27571) takes the top K with no
bound: a = 0, δ⁻ = 2, t⁺ = −2. Scores are cosines.
"""

import collections
import dataclasses
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import Progress

from jaxrl.retrieval import encoders, index, search

TOGETHER = 1024  # contents that an encoder is given at once


@dataclasses.dataclass(frozen=True)
class MiningConfig:
    """K, n, t⁺ and δ⁻ are not given in the paper; our choice."""

    candidates: int = 100  # K
    negatives: int = 7  # n of a query, at most
    t_plus: float = 0.0
    share: float = 1.0  # a: below 1 it lowers the bound, as long as t⁺ ≥ 0
    delta: float = 0.0  # δ⁻
    draw: bool = False  # n at random, in place of the n nearest
    seed: int = 0  # of the draw

    def __post_init__(self):
        if not 1 <= self.negatives < self.candidates:
            raise ValueError(
                f"negatives={self.negatives} and candidates={self.candidates}: give at least 1 "
                "negative, and more candidates than negatives, since the positive is one"
            )
        for key in ("t_plus", "share", "delta"):
            if not np.isfinite(getattr(self, key)):
                raise ValueError(f"{key}={getattr(self, key)}: give a finite number")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed}: give a number of 0 or more")


COUNTS = (
    "mined",
    "no positive above t_plus",  # the row is dropped
    "fewer negatives than asked",
    "positives left out",
)


class Mined(NamedTuple):
    """Rows with their new negatives, in the order of the old ones."""

    rows: list
    counts: dict[str, int]


def mine(rows, open_encoder, c, corpus=()):
    """Rows with mined negatives in place of those they have. Their scores are left out.

    rows: of embedding_forms.Row; open_encoder: instruction or None -> Encoder, called once for each
    instruction of the rows; corpus: the contents among which negatives are looked for, along with
    the positives, or if it is empty, all documents of the rows of the same source.

    A positive of a query in one row is no negative of it in any row of the source, nor is a
    document that is the query itself. Positives that are not in cand or not above t⁺ are left out
    (our reading of the report's "refined positives"). Classification rows stay as they are.
    """
    asked = [row for row in rows if not row.own_only]
    if not asked:
        raise ValueError("there is no row of kind retrieval: nothing to mine for")
    documents = _documents(asked, with_negatives=not corpus)
    contents = list(dict.fromkeys([*corpus, *documents]))
    number = {content: n for n, content in enumerate(contents)}
    queries_QD, documents_ND = _encoded(asked, contents, open_encoder)
    counts, found = collections.Counter(dict.fromkeys(COUNTS, 0)), {}
    for of in _by_source(asked):
        own = _documents([asked[q] for q in of], with_negatives=not corpus)
        pool_n = np.array(sorted({number[x] for x in [*corpus, *own]}))
        cand = _candidates(queries_QD[of], documents_ND[pool_n], c.candidates)
        answers = _answers([asked[q] for q in of], number)
        for q, (scores, places) in zip(of, cand, strict=True):
            known = answers[asked[q].query]
            chosen = choose(scores, pool_n[places], *_barred(asked[q], number, known), c, q)
            found[q] = _changed(asked[q], contents, chosen, c, counts)
    mined = map(found.get, range(len(asked)))
    kept = [row if row.own_only else next(mined) for row in rows]
    counts["classification rows, left as they are"] = len(rows) - len(asked)
    counts["documents whose row is not finite"] = int((~_finite(documents_ND)).sum())
    return Mined([row for row in kept if row is not None], dict(counts))


def choose(scores, numbers, positives, never, c, q=0):
    """(refined positives, negatives), numbers of documents, best first; None if q is to be dropped.

    scores: [k] f32, falling, of the candidates `numbers` [k]; positives: numbers of the row's;
    never: numbers of what must be no negative; q: of the query, for the draw.
    """
    scores = np.asarray(scores, np.float64)
    good = [k for k, n in enumerate(numbers) if n in positives and scores[k] > c.t_plus]
    if not good:
        return None
    bound = c.share * scores[good].mean() + c.delta
    barred = positives | never
    left = [k for k, n in enumerate(numbers) if n not in barred and scores[k] < bound]
    if c.draw and len(left) > c.negatives:
        rng = np.random.default_rng([c.seed, q])
        left = np.sort(rng.choice(left, c.negatives, replace=False))
    return [int(numbers[k]) for k in good], [int(numbers[k]) for k in left[: c.negatives]]


def _candidates(queries_QD, documents_ND, most):
    """Yields (scores [k], places [k]) of each query's best documents, best first."""
    absent = np.flatnonzero(~_finite(documents_ND))
    held = index.held(range(len(documents_ND)), documents_ND, absent)
    hits = search.best(held, queries_QD, min(most, len(documents_ND)))
    for scores, places in zip(*hits, strict=True):
        known = places != search.NONE
        yield scores[known], places[known]


def _barred(row, number, answers):
    """(numbers of the row's positives, of all that must be no negative of it)."""
    itself = {number[row.query]} if row.query in number else set()
    return {number[x] for x in row.positives}, answers | itself


def _changed(row, contents, chosen, c, counts):
    if chosen is None:
        counts["no positive above t_plus"] += 1
        return None
    good, negatives = ([contents[n] for n in numbers] for numbers in chosen)
    positives = tuple(x for x in row.positives if x in good)  # in the row's own order
    counts["mined"] += 1
    counts["positives left out"] += len(row.positives) - len(positives)
    counts["fewer negatives than asked"] += len(negatives) < c.negatives
    return dataclasses.replace(row, positives=positives, negatives=tuple(negatives), scores=())


def _finite(rows_ND):
    return np.isfinite(rows_ND).all(axis=1)


def _encoded(rows, contents, open_encoder):
    """(queries [Q, D], documents [N, D]) f32; one encoder is open at a time."""
    queries_QD = documents_ND = None
    with Progress(console=Console(stderr=True), transient=True) as bar:
        for instruction in dict.fromkeys(row.instruction for row in rows):
            encoder = open_encoder(instruction)
            if documents_ND is None:
                documents_ND = _rows(encoder.documents, contents, encoder.dim, "document", bar)
                queries_QD = np.empty((len(rows), encoder.dim), np.float32)
            of = [q for q, row in enumerate(rows) if row.instruction == instruction]
            queries = [rows[q].query for q in of]
            queries_QD[of] = _rows(encoder.queries, queries, encoder.dim, "query", bar)
            encoder = None  # or it would be in memory while the next is opened
    return queries_QD, documents_ND


def _rows(function, contents, dim, name, bar):
    task, parts = bar.add_task(name, total=len(contents)), []
    for start in range(0, len(contents), TOGETHER):
        part = [bare(content) for content in contents[start : start + TOGETHER]]
        named = [f"{name} {start + n}" for n in range(len(part))]
        parts.append(encoders.encode(function, part, dim, named))
        bar.advance(task, len(part))
    return np.concatenate(parts)


def bare(content):
    """A Content as an encoder takes it: a text alone as a string, which all of them can read."""
    return content if content.images or content.videos else content.text


def _documents(rows, with_negatives=True):
    for row in rows:
        yield from row.positives
        yield from row.negatives if with_negatives else ()


def _by_source(rows):
    """The numbers of the rows of each source."""
    groups = {}
    for q, row in enumerate(rows):
        groups.setdefault(row.source, []).append(q)
    return list(groups.values())


def _answers(rows, number):
    """{query: numbers of its positives in all rows}."""
    found = collections.defaultdict(set)
    for row in rows:
        found[row.query].update(number[x] for x in row.positives)
    return found
