"""A fresh policy: its vocabulary, its form on disk, and that it copies before it has learned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.models import checkpoints, decoder, fresh, induction, spec

C = decoder.Config(
    V=500, D=64, L=3, H=2, K=2, N=32, F=32, rope_theta=1e6, qkv_bias=True, context=512
)


def proposals(params, tokens):
    """The likeliest next token everywhere, [N, W]."""
    zero = jnp.zeros(tokens.shape, jnp.int32)
    position = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    hidden = decoder.forward(params, jnp.asarray(tokens), position, zero, zero + 1, C)
    return np.asarray(jnp.einsum("nwd,vd->nwv", hidden, decoder.head(params)).argmax(-1))


def test_what_came_before_is_proposed_again_wherever_it_stands():
    """Random tokens, then a passage of them: a model without the head guesses one in 500."""
    drawn = spec.init(decoder.specs(C), jax.random.key(0))
    rng = np.random.default_rng(0)
    tokens = np.stack([rng.permutation(C.V)[:200] for _ in range(8)])  # none comes twice
    for row, start in zip(tokens, rng.integers(0, 150, 8), strict=True):
        row[-20:] = row[start : start + 20]
    right = lambda params: (proposals(params, tokens)[:, -20:-1] == tokens[:, -19:]).mean()
    assert right(induction.wire(drawn, C)) > 0.8
    assert right(drawn) < 0.1


def test_what_is_written_is_a_qwen2_that_loads(tmp_path):
    texts = ["Ivory Anchor Garden, 5.5 km"] * 3
    fresh.write(tmp_path / "start", texts, fresh.FreshConfig(vocab=300, width=16, layers=2))
    model = checkpoints.config(tmp_path / "start")
    tokenizer = checkpoints.tokenizer(tmp_path / "start", model)
    assert (model.qkv_bias, model.N, model.tied) == (True, 8, True)
    assert tokenizer.decode(tokenizer.encode(texts[0])) == texts[0]
    digits = tokenizer.encode("5.5")
    assert len(digits) == 3
    params = checkpoints.load(tmp_path / "start")
    assert not np.asarray(params["layers"]["down"]).any()


def test_a_word_is_nearly_the_same_with_a_space_before_it(tmp_path):
    """It is copied from a sentence into quotation marks; unrelated tokens are far apart."""
    texts = ["ivory tower", "tower ivory"] * 3
    fresh.write(tmp_path / "start", texts, fresh.FreshConfig(vocab=290, width=128, layers=2))
    tokenizer = checkpoints.tokenizer(tmp_path / "start", checkpoints.config(tmp_path / "start"))
    embed = np.asarray(checkpoints.load(tmp_path / "start")["embed"])
    (word,), (spaced,), (other,) = map(tokenizer.encode, ("ivory", " ivory", "tower"))
    assert embed[word] @ embed[spaced] > 0.7 > 0.5 > embed[word] @ embed[other]


@pytest.mark.parametrize("key, value", [("vocab", 200), ("layers", 1), ("width", 20), ("heads", 0)])
def test_sizes_that_cannot_be_are_refused(key, value):
    with pytest.raises(ValueError, match=f"start.{key}={value}"):
        fresh.FreshConfig(**{key: value})


def test_a_model_without_room_for_the_head_is_refused():
    with pytest.raises(ValueError, match="D=64, N=16"):
        induction.check(decoder.Config(**{**vars(C), "N": 16}))
