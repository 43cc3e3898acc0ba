"""The reranking bench: both sides read what they should, warm, and its rows add up."""

import dataclasses

import numpy as np
import pytest
import tiny
import tiny_embedder
import tiny_tokenizers

from jaxrl.data import embedding_prompts, reranking_prompts
from jaxrl.evals.judged import Task
from jaxrl.models import embedder
from jaxrl.retrieval import documents, encode, pair_scores
from launch.benches import rerank as bench

TOKENIZER = tiny_tokenizers.build((*tiny_embedder.SPECIALS, "yes", "no"), eos="<|endoftext|>")
MODEL = dataclasses.replace(tiny.MODEL, V=TOKENIZER.vocab_size, context=1024)
C = embedder.Config(MODEL, "last", "qwen3")
TEXTS = ["red house", "red car and a tree", "blue boat", "red red boat", "a green red door"]
QUERIES = {"q0": "blue", "q1": "is it red?", "q2": "a red boat"}


def candidates(n, count):
    held = documents.held(map(str, range(len(TEXTS))), TEXTS)
    return bench.candidates(Task("tiny", held, QUERIES, {}, {}, {}), n, count)


def test_asked_are_the_first_queries_with_enough_documents():
    queries, hits, texts = candidates(4, 2)
    assert queries == ["is it red?", "a red boat"] and hits.numbers.shape == (2, 4)
    assert sorted(hits.numbers[0]) == [0, 1, 3, 4] and 3 in hits.numbers[1]
    assert texts([2, 0]) == ["blue boat", "red house"]
    with pytest.raises(ValueError, match="2 queries have 4 hits, not 3"):
        candidates(4, 3)


def test_no_measured_call_compiles_and_every_token_is_counted(monkeypatch):
    """One compile on the clock outweighs a whole side."""
    compiled, real = [], bench._turn

    def turn(*args):
        before = encode._embed._cache_size(), pair_scores._logit._cache_size()
        seconds = real(*args)
        compiled.append((encode._embed._cache_size(), pair_scores._logit._cache_size()) != before)
        return seconds

    monkeypatch.setattr(bench, "_turn", turn)
    queries, hits, texts = candidates(4, 2)
    sides = bench.opened(tiny.params(MODEL), C, TOKENIZER)
    seconds, lengths = bench.measured(sides, TOKENIZER, C.longest, queries, hits, texts)
    assert compiled == [False, False]
    assert all((seconds[part] > 0).all() and len(lengths[part]) == 2 for part in sides)
    shown = texts(hits.numbers[1])
    prompt = reranking_prompts.listwise("a red boat", shown)
    assert lengths["prompts"][1] == [len(TOKENIZER.encode(prompt))]
    alone = embedding_prompts.encode(TOKENIZER, "qwen3", shown, 1024).ids
    assert lengths["documents"][1] == list(map(len, alone))
    pairs = [("a red boat", text) for text in shown]
    both = reranking_prompts.encode(TOKENIZER, bench.PAIRS, pairs, 1024).ids
    assert lengths["pairs"][1] == list(map(len, both))


def test_the_rows_are_medians_over_queries_and_the_index_spares_the_documents():
    seconds = {"documents": [4.0, 5, 9], "prompts": [1.0, 3, 2], "pairs": [10.0, 30, 20]}
    lengths = {"documents": [[2, 2]] * 3, "prompts": [[5]] * 3, "pairs": [[6, 6]] * 3}
    seconds = {part: np.array(x) for part, x in seconds.items()}
    rows = list(bench.compared("boats", MODEL, seconds, lengths, 1e6))
    assert [row.value for row in rows] == [2, 8, 20, 5, 9]
    assert [row.peer_value for row in rows] == [20, 20, None, 12, 12]
    assert rows[0].ratio == pytest.approx(0.1) and rows[1].floor > rows[0].floor
    seconds["other"] = np.array([30.0, 90, 60])
    pairs = list(bench.compared("boats", MODEL, seconds, lengths, 1e6, "other"))[2]
    assert (pairs.value, pairs.peer, pairs.peer_value) == (20, "other", 60)
    operations = lambda T: (
        MODEL.L
        * (
            2 * T * (MODEL.D * MODEL.N * (2 * MODEL.H + 2 * MODEL.K) + 3 * MODEL.D * MODEL.F)
            + 2 * T * T * MODEL.H * MODEL.N
        )
    )
    assert rows[2].floor == pytest.approx(2 * operations(6) / 1e6)


def test_a_peer_whose_scores_are_not_ours_stops_the_bench():
    queries, hits, texts = candidates(4, 1)
    sides = bench.opened(tiny.params(MODEL), C, TOKENIZER)
    other = lambda shift: sides["pairs"]._replace(
        run=lambda pairs: sides["pairs"].run(pairs) + shift
    )
    seconds, _ = bench.measured(
        sides | {"other": other(1e-6)}, TOKENIZER, C.longest, queries, hits, texts
    )
    assert seconds.keys() == {"documents", "prompts", "pairs", "other"}
    with pytest.raises(ValueError, match="other: scores differ by 1"):
        bench.measured(sides | {"other": other(0.01)}, TOKENIZER, C.longest, queries, hits, texts)


def test_sentences_stand_in_the_place_of_paragraphs_each_once():
    first, second = "The red house stands on a hill.", "A blue boat lies beside the old pier."
    held = documents.held(["a", "b"], [f"{first} {second}", second])
    task = bench.in_sentences(Task("tiny", held, QUERIES, {"q0": {"a": 1}}, {}, {}))
    assert task.documents.read(0, 2) == [first, second] and task.documents.ids == ["0", "1"]
    assert task.queries == QUERIES and not task.qrels


def test_a_peer_is_refused():
    with pytest.raises(ValueError, match="--peer=qwen: rerank has one peer, sentence_transformers"):
        next(bench.run("qwen"))
