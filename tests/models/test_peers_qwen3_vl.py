"""Live against transformers: hidden states and logits of text, pictures, clips and both."""

import dataclasses
import importlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_vl

from jaxrl.data import reranking_prompts
from jaxrl.models import (
    checkpoints,
    decoder,
    embedder,
    qwen3_vl,
    reranker,
    spec,
    vision,
    vl_families,
)

pytestmark = pytest.mark.peers
C = tiny_vl.MODEL
OTHER = qwen3_vl.Config(  # untied, three taps of as many layers, other sizes of patch and table
    text=decoder.Config(
        V=272,
        D=32,
        L=3,
        H=2,
        K=2,
        N=32,
        F=40,
        rope_theta=1e4,
        qk_norm=True,
        norm_eps=1e-6,
        tied=False,
    ),
    vision=vision.Config(D=24, L=3, H=3, F=32, out=32, taps=(0, 1, 2), side=7, patch=2),
    mrope=(8, 4, 4),
    **tiny_vl.IDS,
)
YARN = (("factor", 4.0), ("original_max_position_embeddings", 16), ("rope_type", "yarn"))
CASES = {
    "tiny": C,
    "other": OTHER,
    "yarn": dataclasses.replace(C, text=dataclasses.replace(C.text, rope_scaling=YARN, context=64)),
}
BATCHES = [*[(name,) for name in tiny_vl.ROWS], tuple(tiny_vl.ROWS)]


@pytest.fixture(scope="module")
def peer():
    """peer_vl, which needs torch."""
    pytest.importorskip("torch")
    return importlib.import_module("peer_vl")


@pytest.fixture(scope="module", params=CASES)
def pair(request, peer, tmp_path_factory):
    """(their model, our config, our parameters, pictures), ours from the files they wrote."""
    c = CASES[request.param]
    model, path = peer.model(c, seed=3), tmp_path_factory.mktemp("model") / "hf"
    model.save_pretrained(path)
    assert checkpoints.config(path) == c
    seen = {k: tiny_vl.visual(grid, 7, c.vision) for k, grid in tiny_vl.GRIDS.items()}
    yield model, c, checkpoints.load(path, c), seen
    shutil.rmtree(path)


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("names", BATCHES, ids="+".join)
def test_hidden_states_and_logits_are_equal(pair, peer, names, left):
    model, c, params, seen = pair
    rows = tiny_vl.rendered(names, seen)
    batch = tiny_vl.batch(names, seen, tower=c.vision)
    batch = tiny_vl.on_the_left(batch) if left else batch
    got = jax.jit(qwen3_vl.hidden, static_argnames="c")(params, batch, c=c)
    hidden, logits = peer.run(model, rows, left)
    mask = peer.inputs(rows, left)["attention_mask"].numpy() > 0
    got = np.asarray(got)[batch.valid]
    np.testing.assert_allclose(got, hidden[mask], atol=1e-4)
    np.testing.assert_allclose(got @ np.asarray(decoder.head(params)).T, logits[mask], atol=1e-4)


def test_vectors_and_scores_are_those_of_its_last_token(pair, peer):
    """The released embedder and reranker read there: right padding and left give the same."""
    model, c, params, seen = pair
    names = tuple(tiny_vl.ROWS)
    rows, read = tiny_vl.rendered(names, seen), tiny_vl.batch(names, seen, tower=c.vision)
    states, logits = peer.run(model, rows, left=True)
    got = embedder.embed(params, read, embedder.Config(c, "last", "qwen3_vl"))
    norm = np.linalg.norm(states[:, -1], axis=1, keepdims=True)
    np.testing.assert_allclose(got, states[:, -1] / norm, atol=1e-4)
    answers = reranking_prompts.Answers(yes=7, no=200)
    odds = logits[:, -1, 7] - logits[:, -1, 200]
    score = reranker.score(params, read, answers, c)
    np.testing.assert_allclose(score, 1 / (1 + np.exp(-odds.astype(np.float64))), atol=1e-4)


def test_transformers_loads_what_we_write(pair, peer, tmp_path):
    """Every tensor, none left over, the same outputs."""
    import transformers

    _, c, params, seen = pair
    checkpoints.save(params, c, tiny_vl.TOKENIZER, tmp_path / "out", max_shard_bytes=60_000)
    again, info = transformers.Qwen3VLForConditionalGeneration.from_pretrained(
        tmp_path / "out", output_loading_info=True, dtype="float32"
    )
    assert not info["missing_keys"] and not info["unexpected_keys"]
    rows = tiny_vl.rendered(["mixed"], seen)
    batch = tiny_vl.batch(["mixed"], seen, tower=c.vision)
    got = np.asarray(qwen3_vl.hidden(params, batch, c))
    hidden, _ = peer.run(again.eval(), rows)
    np.testing.assert_allclose(got[batch.valid], hidden[0], atol=1e-4)


def test_the_bare_model_of_transformers_is_read(peer, tmp_path):
    """Qwen3VLModel saves names without "model.", and no head."""
    model = peer.model(OTHER)
    model.model.save_pretrained(tmp_path)
    c = checkpoints.config(tmp_path)
    assert c.text.headless
    params = checkpoints.load(tmp_path, c)
    weight = model.model.language_model.embed_tokens.weight.detach().numpy()
    np.testing.assert_array_equal(params["embed"], weight)


@pytest.mark.parametrize("name", ["2B", "8B"])
def test_published_sizes_have_the_tensors_of_transformers(peer, name):
    """Names, shapes and the number of parameters, on torch's device without memory."""
    import torch
    import transformers

    text, tower, tied, (parameters, _) = tiny_vl.PUBLISHED[name]
    config = transformers.Qwen3VLConfig(
        text_config=tiny_vl.PUBLISHED_TEXT | text,
        vision_config=dict(tower),
        tie_word_embeddings=tied,
    )
    with torch.device("meta"):
        model = transformers.Qwen3VLForConditionalGeneration(config)
    c = vl_families.from_hf(config.to_dict())
    assert sum(p.numel() for p in model.parameters()) == parameters == spec.count(qwen3_vl.specs(c))
    theirs = {k: tuple(x.shape) for k, x in model.state_dict().items()}
    if tied:
        del theirs["lm_head.weight"]
    assert {x[0]: x[1] for x in checkpoints._names(c)} == theirs


def test_bf16_stays_near(pair):
    """Activations in bf16, as on an accelerator: no cast is missing, no norm is in bf16."""
    _, c, params, seen = pair
    batch = tiny_vl.batch(["mixed"], seen, tower=c.vision)
    want = np.asarray(qwen3_vl.hidden(params, batch, c))[batch.valid]
    got = qwen3_vl.hidden(params, batch, c, dtype=jnp.bfloat16)
    assert got.dtype == jnp.bfloat16
    error = np.abs(np.asarray(got, np.float32)[batch.valid] - want)
    assert error.mean() < 0.1 * np.abs(want).mean()
