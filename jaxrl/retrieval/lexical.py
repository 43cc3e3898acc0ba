"""BM25 over documents in memory, by bm25s (kept, plain numpy), with Snowball's English stemmer.

    find = lexical.searcher(documents)
    find(["why is the sky blue"], 10)       # search.Hits; a document without any word is no hit

A baseline for evaluations, and a first stage for rerankers. The research env has SQLite's BM25, and
both stay. Importing bm25s runs an operation of JAX, which would open the accelerator in each of the
env's processes, and its index lies in memory, one a process. SQLite serves all processes from one
file, but a query at a time: on HotpotQA's 66,581 paragraphs 69 ms each against 6 ms here, measured
on two busy cores. With the env's stop words its nDCG@10 is a little higher, 0.914 against 0.902 on
300 questions of SQuAD and 0.751 against 0.729 on 300 of HotpotQA; the published marks are bm25s's.
"""

import logging

import bm25s
import numpy as np
import Stemmer

from jaxrl.retrieval import search

logging.getLogger("bm25s").setLevel(logging.WARNING)  # it asks for its debug lines to be shown
K1, B = 1.5, 0.75  # bm25s's own, with Lucene's formula


def searcher(documents, *, k1=K1, b=B, language="english"):
    """A function (queries: list of texts, k) -> Hits, over a documents.Documents of texts."""
    how = bm25s.tokenization.Tokenizer(stopwords="en", stemmer=Stemmer.Stemmer(language))
    words = how.tokenize(documents.read(0, len(documents.ids)), show_progress=False)
    vocabulary = how.get_vocab_dict()
    nothing = vocabulary.get("")  # bm25s's word of a text without words: such texts would match
    if set(vocabulary) <= {""}:
        raise ValueError("no document has a word that is not a stop word: there is nothing to find")
    engine = bm25s.BM25(k1=k1, b=b, method="lucene")
    engine.index((words, vocabulary), show_progress=False)

    def find(queries, k):
        asked = how.tokenize(list(queries), update_vocab=False, show_progress=False)
        found = [_best(engine, [id for id in ids if id != nothing], k) for ids in asked]
        return search.Hits(*map(np.stack, zip(*found, strict=True)))

    return find


def _best(engine, ids, k):
    """(scores [k], numbers [k]) of one query; equal scores by number, which bm25s leaves open."""
    scores, numbers = np.full(k, -np.inf, np.float32), np.full(k, search.NONE, np.int32)
    if ids:
        found = engine.get_scores_from_ids(ids)
        wanted = np.flatnonzero(found > 0)
        if len(wanted) > k:  # all that reach the kth, so that a tie is cut by number
            wanted = np.flatnonzero(found >= np.partition(found, -k)[-k])
        wanted = wanted[np.argsort(-found[wanted], kind="stable")][:k]
        scores[: len(wanted)], numbers[: len(wanted)] = found[wanted], wanted
    return scores, numbers
