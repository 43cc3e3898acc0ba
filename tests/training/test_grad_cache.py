"""Cached contrastive batches against the plain gradient of the whole batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.models import decoder, spec
from jaxrl.ops import contrastive_losses, embedding_quantization
from jaxrl.ops.embeddings import normalize
from jaxrl.training import grad_cache

N, K, W = 4, 2, 5
CONFIG = decoder.Config(V=13, D=8, L=2, H=2, K=1, N=4, F=12)


def encode(params, part):
    """The hidden state at the last token of each row, as a unit vector."""
    tokens, length = part["tokens"], part["length"]
    place = jnp.arange(tokens.shape[1])
    valid = place[None] < length[:, None]
    lo = jnp.zeros_like(tokens)
    position = jnp.broadcast_to(place, tokens.shape)
    x = decoder.forward(params["model"], tokens, position, lo, valid.astype(jnp.int32), CONFIG)
    return normalize(jnp.take_along_axis(x, length[:, None, None] - 1, 1)[:, 0])


def loss(params, e):
    """Over queries, positives and negatives apart, with a step of its own."""
    labels = contrastive_losses.plain_labels(N, 1 + K)
    negative_NKD = e["negative"].reshape(N, K, -1)

    def one(pair):
        return contrastive_losses.info_nce(*pair, labels, temperature=0.2, query_query=True)

    pair = e["query"], jnp.concatenate([e["positive"][:, None], negative_NKD], 1)
    return embedding_quantization.quantization_aware(one, pair, params["step"])


def inputs():
    rng = np.random.default_rng(0)
    rows = {"query": (N, W), "positive": (N, W + 2), "negative": (N * K, W + 2)}
    return {
        kind: {
            "tokens": rng.integers(0, CONFIG.V, shape).astype(np.int32),
            "length": rng.integers(1, shape[1] + 1, shape[0]).astype(np.int32),
        }
        for kind, shape in rows.items()
    }


@pytest.fixture(scope="module")
def params():
    model = spec.init(decoder.specs(CONFIG), jax.random.key(0))
    return {"model": model, "step": jnp.float32(0.05)}


def whole(params, inputs):
    return loss(params, {kind: encode(params, tree) for kind, tree in inputs.items()})


@pytest.mark.parametrize("micro", [(1, 2, 4), (4, 4, 8)], ids=["small", "all"])
def test_the_gradient_is_that_of_the_whole_batch(params, micro):
    """Of queries, positives and negatives of other lengths, and of what the loss alone reads."""
    micro = dict(zip(("query", "positive", "negative"), micro, strict=True))
    run = jax.jit(functools.partial(grad_cache.value_and_grad, encode, loss, micro=micro))
    got = run(params, inputs())
    want = jax.jit(jax.value_and_grad(whole, has_aux=True))(params, inputs())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), got, want)
    assert all(np.any(g) for g in jax.tree.leaves(want[1]))


def test_no_activations_of_the_whole_batch_are_kept():
    """The memory of the second pass must grow with the micro-batch, not with the batch."""
    deep = lambda params, x: jax.lax.fori_loop(0, 1, lambda _, h: h, _layers(params, x))
    total = lambda params, e: (jnp.square(e["x"]).sum(), {})
    weights = jnp.ones((16, 64, 64)) / 64
    x = {"x": jnp.ones((256, 64))}

    def temporaries(micro):
        f = functools.partial(grad_cache.value_and_grad, deep, total, micro={"x": micro})
        return jax.jit(f).lower(weights, x).compile().memory_analysis().temp_size_in_bytes

    kept = 16 * 256 * 64 * 4  # each layer's output, of all rows
    assert temporaries(256) > kept
    assert temporaries(8) < kept / 4 + weights.nbytes * 2


def _layers(weights, x):
    return jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x, weights)[0]


def test_drawing_twice_draws_the_same():
    """Dropout must fall on the same numbers in both passes: its keys are inputs."""
    keys = jax.random.split(jax.random.key(1), 4)
    x = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    drop = lambda v, key: jnp.where(jax.random.bernoulli(key, 0.5, v.shape), v, 0)
    encode = lambda w, part: jax.vmap(drop)(part["x"] @ w, part["key"])
    loss = lambda w, e: (jax.nn.logsumexp(e["x"] @ e["x"].T), {"weight": 1.0})
    batch, w = {"x": {"x": x, "key": keys}}, jnp.eye(8)
    run = jax.jit(functools.partial(grad_cache.value_and_grad, encode, loss, micro={"x": 2}))
    plain = lambda w: loss(w, {"x": encode(w, batch["x"])})
    want = jax.jit(jax.value_and_grad(plain, has_aux=True))(w)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), run(w, batch), want)


def test_micro_batches_that_do_not_fit_are_refused(params):
    run = lambda micro: grad_cache.value_and_grad(encode, loss, params, inputs(), micro=micro)
    with pytest.raises(ValueError, match=r"micro\['query'\]=3.*4 rows"):
        run({"query": 3, "positive": 4, "negative": 4})
    with pytest.raises(KeyError, match="positive"):
        run({"query": 2})
    uneven = {"x": {"a": jnp.ones((4, 2)), "b": jnp.ones(3)}}
    with pytest.raises(ValueError, match=r"\[3, 4\] rows"):
        grad_cache.value_and_grad(encode, loss, params, uneven, micro={"x": 1})
