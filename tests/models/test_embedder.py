"""Hidden states to vectors: every pooling, whatever the padding; bad settings are refused."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny
import tiny_embedder

from jaxrl.data.sequences import Sequences
from jaxrl.models import embedder

VALID = np.array([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [0, 1, 0, 0, 0]], bool)
ORACLES = {
    "last": lambda h, valid: h[np.flatnonzero(valid)[-1]],
    "cls": lambda h, valid: h[np.flatnonzero(valid)[0]],
    "mean": lambda h, valid: h[valid].mean(0),
}
embed = jax.jit(embedder.embed, static_argnums=2)


@pytest.mark.parametrize("pooling", ORACLES)
@pytest.mark.parametrize("dim", [0, 5])
@pytest.mark.parametrize("normalize", [True, False])
def test_pooling_is_what_it_says(pooling, dim, normalize):
    """A Matryoshka prefix is cut first: of a vector cut after normalising the length is not 1."""
    c = embedder.Config(tiny.MODEL, pooling, normalize=normalize, dim=dim)
    hidden = np.random.default_rng(0).normal(size=(3, 5, 16)).astype(np.float32)
    rows = zip(hidden, VALID, strict=True)
    wanted = np.stack([ORACLES[pooling](h, valid) for h, valid in rows])[:, : dim or 16]
    if normalize:
        wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    hidden[~VALID] = 1e9  # junk
    np.testing.assert_allclose(embedder.pool(hidden, VALID, c), wanted, atol=1e-6)
    assert c.width == wanted.shape[1]


@pytest.mark.parametrize("pooling", ORACLES)
def test_a_row_without_tokens_is_not_a_number(pooling):
    """A vector of zeros would be as near to every query: nobody would notice."""
    c = embedder.Config(tiny.MODEL, pooling)
    hidden, valid = np.ones((2, 3, 16), np.float32), np.array([[True] * 3, [False] * 3])
    got = np.asarray(embedder.pool(hidden, valid, c))
    assert np.isfinite(got[0]).all() and np.isnan(got[1]).all()


@pytest.mark.parametrize("make", [tiny_embedder.causal, tiny_embedder.both_ways])
def test_padding_on_either_side_changes_nothing(make):
    """Left padding, which E2Rank's code has, is as good as right."""
    c, params, _ = make()
    text = np.array([[4, 5, 6, 7]], np.int32)
    alone = embed(params, Sequences(text, np.ones((1, 4), bool)), c)[0]
    rows, valid = np.full((2, 8), 9, np.int32), np.zeros((2, 8), bool)
    rows[0, :4], valid[0, :4] = text, True
    rows[1, 4:], valid[1, 4:] = text, True
    np.testing.assert_allclose(
        embed(params, Sequences(rows, valid), c), np.stack([alone, alone]), atol=1e-5
    )
    np.testing.assert_allclose(np.linalg.norm(alone), 1, atol=1e-6)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"pooling": "max"}, r"pooling='max': give one of \['cls', 'last', 'mean'\]"),
        ({"template": "e5"}, "template='e5'"),
        ({"dim": 17}, "dim=17: the model gives 16"),
        ({"limit": -1}, "limit=-1"),
        ({"limit": 65}, r"limit=65 ask for 65 positions.*lower limit"),
    ],
)
def test_bad_settings_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        embedder.Config(**({"model": tiny.MODEL, "pooling": "last"} | changes))


def test_the_longest_text_is_that_of_the_model():
    c, _, _ = tiny_embedder.both_ways()
    assert c.longest == 24 and dataclasses.replace(c, limit=7).longest == 7
    with pytest.raises(ValueError, match="limit=25 is beyond the 24 positions"):
        dataclasses.replace(c, limit=25)
