"""The encoder: what transformers gives, blind to padding, and its checkpoints both ways."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_embedder
from safetensors.numpy import load_file

from jaxrl.models import checkpoints, encoder, encoder_families
from jaxrl.parallel import mesh, rules

FIXTURES = Path(__file__).parents[1] / "fixtures" / "encoders"
CASES = sorted(path.name for path in FIXTURES.iterdir())
LETTERS = tiny_embedder.wordpiece()
forward = jax.jit(encoder.forward, static_argnums=3)


def expected(name):
    """What transformers was given and gave."""
    found = np.load(FIXTURES / name / "expected.npz")
    ids, types = found["ids"].astype(np.int32), found["types"].astype(np.int32)
    return ids, found["mask"] > 0, types, found["hidden"]


@pytest.mark.parametrize("name", CASES)
def test_hidden_states_equal_those_transformers_gave(name):
    """Positions from 0 and from 2, one and two token types, a padded row."""
    ids, valid, types, hidden = expected(name)
    c = checkpoints.config(FIXTURES / name)
    got = forward(checkpoints.load(FIXTURES / name, c), ids, valid, c, types=types)
    np.testing.assert_allclose(got[valid], hidden[valid], atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_round_trip_is_bit_equal_but_for_the_pooler(name, tmp_path):
    """Names, shapes and bits in bf16; what no embedder reads is left out."""
    c = checkpoints.config(FIXTURES / name)
    params = checkpoints.load(FIXTURES / name, c, dtype=jnp.bfloat16)
    checkpoints.save(params, c, LETTERS, tmp_path / "out")
    before = load_file(FIXTURES / name / "model.safetensors")
    after = load_file(tmp_path / "out" / "model.safetensors")
    assert after.keys() == {key for key in before if not key.startswith("pooler")}
    assert all((before[k].view(np.uint16) == after[k].view(np.uint16)).all() for k in after)
    assert checkpoints.config(tmp_path / "out") == c
    assert not (tmp_path / "out" / "generation_config.json").exists()


def test_names_may_have_the_prefix_of_a_model_with_a_head(tmp_path):
    """BertForMaskedLM writes bert.embeddings … where BertModel writes embeddings …"""
    from safetensors.numpy import save_file

    stored = load_file(FIXTURES / "bert" / "model.safetensors")
    save_file({f"bert.{name}": x for name, x in stored.items()}, tmp_path / "model.safetensors")
    c = checkpoints.config(FIXTURES / "bert")
    got, same = checkpoints.load(tmp_path, c), checkpoints.load(FIXTURES / "bert", c)
    jax.tree.map(np.testing.assert_array_equal, got, same)


def test_padding_on_either_side_changes_nothing():
    """Positions count valid tokens, and no query sees a key that is none."""
    c, params = tiny_embedder.ENCODER, tiny_embedder.params(encoder.specs(tiny_embedder.ENCODER))
    text = np.array([[2, 4, 5, 6, 3]], np.int32)
    alone = forward(params, text, np.ones((1, 5), bool), c)[0]
    rows, valid = np.full((2, 9), 7, np.int32), np.zeros((2, 9), bool)
    rows[0, :5], valid[0, :5] = text, True
    rows[1, 4:], valid[1, 4:] = text, True
    got = forward(params, rows, valid, c)
    np.testing.assert_allclose(got[valid], np.concatenate([alone, alone]), atol=1e-5)
    assert np.isfinite(got).all()


def test_every_token_sees_later_ones_and_gradients_are_finite():
    """A causal mask left in would make an encoder of half the worth."""
    c, params = tiny_embedder.ENCODER, tiny_embedder.params(encoder.specs(tiny_embedder.ENCODER))
    rows = np.array([[2, 4, 5, 3, 0], [2, 4, 6, 3, 0]], np.int32)
    valid = rows > 0

    def first(params):
        hidden = encoder.forward(params, rows, valid, c, remat="block")
        return hidden[0, 0] @ hidden[1, 0], hidden

    (_, hidden), grads = jax.jit(jax.value_and_grad(first, has_aux=True))(params)
    assert np.abs(hidden[0, 0] - hidden[1, 0]).max() > 1e-3
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))
    assert np.abs(grads["layers"]["up_bias"]).max() > 0


def test_a_mesh_of_eight_devices_changes_nothing():
    """Weights split over fsdp and tensor, rows over data: axes that do not fit would stop here."""
    c = tiny_embedder.ENCODER
    values, specs = tiny_embedder.params(encoder.specs(c)), encoder.specs(c)
    rows = np.tile(np.array([[2, 4, 5, 6, 3, 0]], np.int32), (4, 1))
    rows[:, 2] = np.arange(4, 8)
    where = mesh.make(data=2, fsdp=2, tensor=2)
    with jax.set_mesh(where):
        placed = jax.device_put(values, rules.shardings(specs, where, rules.TRAIN))
        got = forward(placed, rows, rows > 0, c)
    np.testing.assert_allclose(got, forward(values, rows, rows > 0, c), atol=1e-5)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"hidden_act": "relu"}, "hidden_act='relu'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"is_decoder": True}, "is_decoder=True"),
        ({"num_attention_heads": 5}, "num_attention_heads=5"),
    ],
)
def test_what_it_does_not_compute_is_refused(changes, said):
    hf = json.loads((FIXTURES / "bert" / "config.json").read_text())
    with pytest.raises(ValueError, match=said):
        encoder_families.from_hf(hf | changes)
    del hf["vocab_size"]
    with pytest.raises(ValueError, match="vocab_size"):
        encoder_families.from_hf(hf)


@pytest.mark.peers
@pytest.mark.parametrize("kind", ["Bert", "Roberta", "XLMRoberta"])
def test_transformers_agrees_live_and_loads_what_we_write(kind, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    sizes = {"vocab_size": 40, "hidden_size": 24, "intermediate_size": 20, "num_hidden_layers": 3}
    sizes |= {"num_attention_heads": 3, "max_position_embeddings": 50, "layer_norm_eps": 1e-5}
    config = getattr(transformers, f"{kind}Config")(**sizes)
    peer = getattr(transformers, f"{kind}Model")(config, add_pooling_layer=False).eval()
    for parameter in peer.parameters():
        parameter.data = torch.randn_like(parameter) * 0.4
    peer.save_pretrained(tmp_path / "theirs")
    c, params = checkpoints.config(tmp_path / "theirs"), checkpoints.load(tmp_path / "theirs")
    ids = torch.randint(3, 40, (3, 30))
    mask = (torch.arange(30) < torch.tensor([[30], [17], [1]])).long()
    ids[mask == 0] = config.pad_token_id
    with torch.no_grad():
        wanted = peer(input_ids=ids, attention_mask=mask).last_hidden_state.numpy()
    valid = mask.numpy() > 0
    got = forward(params, ids.numpy().astype(np.int32), valid, c)
    np.testing.assert_allclose(np.asarray(got)[valid], wanted[valid], atol=1e-4)

    checkpoints.save(params, c, LETTERS, tmp_path / "ours")
    again, info = type(peer).from_pretrained(
        tmp_path / "ours", add_pooling_layer=False, output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"]
    with torch.no_grad():
        theirs = again.eval()(input_ids=ids, attention_mask=mask).last_hidden_state.numpy()
    np.testing.assert_allclose(theirs[valid], wanted[valid], atol=1e-5)
