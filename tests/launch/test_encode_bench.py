"""The encoding bench: what it counts as work, and whom it compares with."""

import pytest
import tiny
import tiny_embedder

from launch.benches import encode as bench


def test_the_floor_counts_each_product_once():
    """Layer by layer, token by token; every pair of tokens an encoder's attention looks at."""
    c, _, tokenizer = tiny_embedder.both_ways()
    texts, m = ["the cat", "on"], tiny_embedder.ENCODER
    operations = 0
    for length in (4, 3):  # [CLS] and [SEP] included
        for _ in range(m.L):
            operations += length * 2 * (4 * m.D * m.D + 2 * m.D * m.F)
            operations += length * length * 2 * (m.D + m.D)
    assert bench.floor_seconds(c, tokenizer, texts, 1e6) == pytest.approx(operations / 1e6)


def test_a_causal_model_has_three_matrices_and_half_of_the_pairs():
    c, _, tokenizer = tiny_embedder.causal(template="plain")
    m, length = tiny.MODEL, len(tokenizer.encode("a cat"))
    matrices = m.D * m.N * (2 * m.H + 2 * m.K) + 3 * m.D * m.F
    operations = m.L * (2 * length * matrices + length * length * 2 * m.H * m.N)
    assert bench.floor_seconds(c, tokenizer, ["a cat"], 1.0) == pytest.approx(operations)


def test_the_peer_is_measured_with_its_faster_batches(monkeypatch):
    """Batches of 32 padded 16 paragraphs to 2.3 times their tokens, which flattered our side."""
    took = {8: 1.0, 32: 2.0}
    monkeypatch.setattr(bench.tables, "seconds", lambda call: took[call.keywords["batch_size"]])
    assert bench.fastest(lambda texts: None, ["a"]).keywords == {"batch_size": 8}
    took[8] = 3.0
    assert bench.fastest(lambda texts: None, ["a"]).keywords == {"batch_size": 32}


def test_another_peer_is_refused():
    with pytest.raises(ValueError, match="--peer=tei: encode has one peer"):
        next(bench.run("tei"))
