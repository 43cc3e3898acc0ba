"""BM25 against its formula in a loop; ties, empty texts, queries of stop words."""

import math
from collections import Counter

import numpy as np
import pytest

from jaxrl.retrieval import documents, search

lexical = pytest.importorskip("jaxrl.retrieval.lexical")

TEXTS = [
    "sky blue sky",
    "blue car",
    "",
    "grass tree grass grass bird",
    "car sky",
    "the of and",
    "car sky",
    "tree",
]
CORPUS = documents.held([f"d{i}" for i in range(len(TEXTS))], TEXTS)
STOP = {"the", "of", "and"}


def oracle(query):
    """score(d) = Σ_w ln(1 + (N − n + ½)/(n + ½)) · tf / (tf + k₁ (1 − b + b |d|/avg)), Lucene's."""
    held = [[w for w in text.split() if w not in STOP] for text in TEXTS]
    lengths = [max(len(words), 1) for words in held]  # a text without words counts as one
    average = sum(lengths) / len(held)
    scores = np.zeros(len(held))
    for word in query.split():
        n = sum(word in words for words in held)
        idf = math.log(1 + (len(held) - n + 0.5) / (n + 0.5))
        for d, words in enumerate(held):
            tf = Counter(words)[word]
            norm = lexical.K1 * (1 - lexical.B + lexical.B * lengths[d] / average)
            scores[d] += idf * tf / (tf + norm)
    return scores


def test_scores_are_those_of_the_formula_and_ties_go_by_number():
    find = lexical.searcher(CORPUS)
    for query in ("blue", "sky car", "tree grass bird blue"):
        want = oracle(query)
        order = np.argsort(-want.round(6), kind="stable")
        for k in (1, 2, 8):
            hits = find([query], k)
            wanted = [n for n in order if want[n] > 0][:k]
            assert hits.numbers[0].tolist() == wanted + [search.NONE] * (k - len(wanted))
            np.testing.assert_allclose(hits.scores[0][: len(wanted)], want[wanted], rtol=1e-5)


def test_a_query_without_a_known_word_finds_nothing():
    """An empty document was the best for an empty query once: both hold the same empty word."""
    hits = lexical.searcher(CORPUS)(["the of", "zebra", "", "sky zebra"], 3)
    assert (hits.numbers[:3] == search.NONE).all() and np.isneginf(hits.scores[:3]).all()
    assert hits.numbers[3, 0] == 0


def test_words_are_stemmed_and_cases_folded():
    find = lexical.searcher(documents.held("ab", ["Running dogs", "a cat"]))
    assert find(["DOG runs"], 1).numbers.tolist() == [[0]]


def test_documents_without_words_are_refused():
    with pytest.raises(ValueError, match="nothing to find"):
        lexical.searcher(documents.held("ab", ["the", "of and"]))
