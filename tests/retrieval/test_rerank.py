"""Reranking against loops over queries, and what E2Rank shows and scores."""

import functools

import numpy as np
import pytest
import tiny_embedder
import tiny_encoder

from jaxrl.data import reranking_prompts
from jaxrl.retrieval import rerank, search

TEXTS = ["red house", "blue car", "green house", "old red car", "new blue boat", "red red boat"]
ROWS = tiny_encoder.rows(TEXTS)
HITS = search.Hits(
    np.array([[0.9, 0.8, 0.7, 0.6], [0.5, 0.4, -np.inf, -np.inf]], np.float32),
    np.array([[3, 0, 1, 5], [4, 2, -1, -1]], np.int32),
)
texts = lambda numbers: [TEXTS[n] for n in numbers]


def test_a_cross_encoder_sees_every_pair_once_and_orders_by_its_score():
    seen = []

    def score(pairs):
        seen.extend(pairs)
        return [len(document) for _, document in pairs]

    got = rerank.pointwise(score, ["q0", "q1"], HITS, texts, depth=3)
    assert seen == [("q0", TEXTS[3]), ("q0", TEXTS[0]), ("q0", TEXTS[1])] + [
        ("q1", TEXTS[4]),
        ("q1", TEXTS[2]),
    ]
    np.testing.assert_array_equal(got.numbers, [[3, 0, 1], [4, 2, -1]])
    np.testing.assert_array_equal(got.scores, [[11, 9, 8], [13, 11, -np.inf]])


def test_equal_scores_of_a_cross_encoder_go_by_document_number():
    got = rerank.pointwise(lambda pairs: np.zeros(len(pairs)), ["q0", "q1"], HITS, texts)
    np.testing.assert_array_equal(got.numbers, [[0, 1, 3, 5], [2, 4, -1, -1]])


@pytest.mark.parametrize("bad", [[1.0], [1.0, np.nan, 1.0, 1.0, 1.0, 1.0]])
def test_scores_of_a_wrong_number_or_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="score gave"):
        rerank.pointwise(lambda pairs: np.array(bad), ["q0", "q1"], HITS, texts)


def test_the_pseudo_query_shows_the_first_and_scores_all_by_their_own_rows():
    """Pins scores against embeddings made anew in the prompt, and scoring only what was shown."""
    asked = []

    def encode(prompts):
        asked.extend(prompts)
        return tiny_encoder.rows(prompts)

    prompt = lambda query, documents: " ".join([*documents, query])
    got = rerank.listwise(encode, prompt, ["car", "x"], HITS, texts, ROWS.__getitem__, shown=2)
    assert asked == ["old red car red house car", "new blue boat green house x"]
    for q, listed in enumerate(([3, 0, 1, 5], [4, 2])):
        scores = {n: float(tiny_encoder.rows([asked[q]])[0] @ ROWS[n]) for n in listed}
        best = sorted(listed, key=lambda n: -scores[n])
        assert got.numbers[q].tolist() == best + [-1] * (4 - len(listed))
        np.testing.assert_allclose(got.scores[q][: len(listed)], [scores[n] for n in best], 1e-5)


def test_a_hundred_documents_cost_one_prompt_that_shows_twenty():
    """E2Rank's numbers: top 20 of 100 in the prompt, in the order of the search; 100 scored."""
    documents = [f"word{n} other{n % 7}" for n in range(100)]
    order = np.random.default_rng(0).permutation(100)
    hits = search.Hits(np.linspace(1, 0, 100, dtype=np.float32)[None], order[None].astype(np.int32))
    rows, asked = tiny_encoder.rows(documents), []

    def encode(prompts):
        asked.extend(prompts)
        return tiny_encoder.rows(prompts)

    prompt = functools.partial(reranking_prompts.fitted, tiny_embedder.CHAT, limit=5000)
    shown = lambda numbers: [documents[n] for n in numbers]
    got = rerank.listwise(encode, prompt, ["why?"], hits, shown, rows.__getitem__)
    listed = [documents[n] for n in order[:20]]
    assert asked == [reranking_prompts.listwise("why?", listed)]
    cosines = rows @ tiny_encoder.rows(asked)[0]
    np.testing.assert_array_equal(np.sort(got.numbers[0]), np.arange(100))
    np.testing.assert_allclose(got.scores[0], np.sort(cosines)[::-1], atol=1e-6)
