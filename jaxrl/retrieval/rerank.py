"""Second stages: what a first search found, in a new order. Pure functions over models passed in.

    pointwise(score, queries, hits, texts)                  # a cross-encoder looks at each pair
    listwise(encode, prompt, queries, hits, texts, rows)    # E2Rank: one embedding a query

texts: numbers [n] -> their contents, of the documents that are shown; hits: retrieval.search.Hits.
A hit that is none stays none.
"""

import numpy as np

from jaxrl.retrieval import search


def pointwise(score, queries, hits, texts, *, depth=100):
    """The first `depth` hits by a cross-encoder's score; the others are left out.

    score: [(query, document), …] -> [n] f32.  returns: Hits.
    """
    numbers = hits.numbers[:, :depth]
    known = numbers != search.NONE
    asked = [query for query, row in zip(queries, known, strict=True) for _ in range(row.sum())]
    scores = np.full(numbers.shape, -np.inf, np.float32)
    if asked:
        pairs = list(zip(asked, texts(numbers[known]), strict=True))
        found = np.asarray(score(pairs), np.float32)
        _check(found, (len(asked),), "score")
        scores[known] = found
    return search.ordered(scores, numbers, numbers.shape[1])


def listwise(encode, prompt, queries, hits, texts, rows, *, shown=20):
    """All hits by the cosine with the embedding of a prompt that shows the first of them.

        ê_q = f(prompt(q, d_1 … d_shown)),   score(d) = ê_q · e_d   for every hit d

    E2Rank, arXiv:2510.22733: the prompt is a query with pseudo-relevance
    feedback, embedded once, and the documents keep the embeddings that they were retrieved by.

    encode: texts -> [n, D] f32 unit rows, which adds nothing to them; prompt: (query, documents) ->
    text, such as reranking_prompts.fitted; rows: numbers [n] -> [n, D] f32, such as `Index.rows`.
    returns: Hits of as many columns as were given.
    """
    first = [row[:shown][row[:shown] != search.NONE] for row in hits.numbers]
    asked = [prompt(query, texts(row)) for query, row in zip(queries, first, strict=True)]
    found = np.asarray(encode(asked), np.float32)
    _check(found, (len(asked), found.shape[-1]), "encode")
    return search.rescored(rows, found, hits, hits.numbers.shape[1])


def _check(found, shape, name):
    if found.shape != shape or not np.isfinite(found).all():
        raise ValueError(
            f"{name} gave {list(found.shape)} for {shape[0]} inputs, or what is not finite: give "
            f"{list(shape)} finite numbers"
        )
