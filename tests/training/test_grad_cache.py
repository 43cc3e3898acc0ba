"""Cached contrastive batches against the plain gradient of the whole batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.models import decoder, spec
from jaxrl.ops import contrastive_losses, embedding_quantization
from jaxrl.ops.embeddings import normalize
from jaxrl.ops.global_batch import over_devices
from jaxrl.parallel import mesh as meshes
from jaxrl.parallel import rules
from jaxrl.training import grad_cache

N, K, W = 8, 2, 5
CONFIG = decoder.Config(V=13, D=8, L=2, H=2, K=1, N=4, F=12)


def read(params, part):
    """A network of two layers over the mean of a row's tokens."""
    valid = jnp.arange(part["tokens"].shape[1]) < part["length"][:, None]
    x = jnp.where(valid[..., None], params["embed"][part["tokens"]], 0).sum(1)
    return normalize(jnp.tanh(x / part["length"][:, None]) @ params["out"])


def decode(params, part):
    """The decoder's hidden state at the last token of each row."""
    tokens, length = part["tokens"], part["length"]
    place = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    hi = (place < length[:, None]).astype(jnp.int32)
    x_NWD = decoder.forward(params, tokens, place, jnp.zeros_like(tokens), hi, CONFIG)
    return normalize(jnp.take_along_axis(x_NWD, length[:, None, None] - 1, 1)[:, 0])


def loss(params, e):
    """Over queries, positives and negatives, with a parameter of its own: a step."""
    labels = contrastive_losses.plain_labels(N, 1 + K)
    negative_NKD = e["negative"].reshape(N, K, -1)
    pair = e["query"], jnp.concatenate([e["positive"][:, None], negative_NKD], 1)
    nce = functools.partial(contrastive_losses.info_nce, temperature=0.2, query_query=True)
    spread = lambda pair: over_devices(nce, (*pair, labels), rules.TRAIN["batch"])
    return embedding_quantization.quantization_aware(
        spread, pair, params["step"], formats=("int8",)
    )


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


def by_parts(encode, params, inputs, micro):
    """Loss and gradient, the encoder a micro-batch at a time."""
    micro = dict(zip(("query", "positive", "negative"), micro, strict=True))
    inner = lambda params, part: encode(params["model"], part)
    run = functools.partial(grad_cache.value_and_grad, inner, loss, micro=micro)
    return jax.jit(run)({"model": params, "step": jnp.float32(0.05)}, inputs)


def at_once(encode, params, inputs):
    """The same from the whole batch."""

    def whole(params):
        return loss(params, {kind: encode(params["model"], x) for kind, x in inputs.items()})

    run = jax.jit(jax.value_and_grad(whole, has_aux=True))
    return run({"model": params, "step": jnp.float32(0.05)})


def same(got, want):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), got, want)
    assert all(np.any(g) for g in jax.tree.leaves(want[1])), "every parameter is reached"


@pytest.fixture(scope="module")
def params():
    rng = np.random.default_rng(0)
    return {
        "embed": rng.normal(size=(CONFIG.V, 6)).astype(np.float32),
        "out": rng.normal(size=(6, 8)).astype(np.float32),
    }


@pytest.fixture(scope="module")
def want(params):
    return at_once(read, params, inputs())


def test_the_gradient_is_that_of_the_whole_batch(params, want):
    """Of queries, positives and negatives of other lengths, and of what the loss alone reads."""
    same(by_parts(read, params, inputs(), (1, 2, 4)), want)


def test_a_mesh_changes_nothing(params, want):
    """And rows stay where they are: neighbours as a micro-batch would all lie on one device."""
    mesh = meshes.make(data=2, fsdp=2, tensor=2)
    axes = rules.TRAIN["batch"]
    place = lambda x: jax.device_put(x, jax.NamedSharding(mesh, jax.P(axes)))
    with jax.set_mesh(mesh):
        spread = jax.tree.map(place, inputs())
        got = by_parts(read, params, spread, (4, 4, 8))
        split = jax.jit(lambda x: grad_cache._split(x, 4)).lower(spread["query"]).compile()
    same(got, want)
    assert "all-" not in split.as_text() and "collective" not in split.as_text()
    for place in jax.tree.leaves(split.output_shardings):
        assert place.spec[:2] == (None, axes)


@pytest.mark.slow
def test_the_decoder_as_encoder():
    params = spec.init(decoder.specs(CONFIG), jax.random.key(0))
    same(by_parts(decode, params, inputs(), (2, 4, 4)), at_once(decode, params, inputs()))


def test_no_activations_of_the_whole_batch_are_kept():
    """The memory of the second pass must grow with the micro-batch, not with the batch."""
    deep = lambda weights, x: jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x, weights)[0]
    total = lambda params, e: (jnp.square(e["x"]).sum(), {})
    weights = jnp.ones((16, 64, 64)) / 64
    x = {"x": jnp.ones((256, 64))}

    def temporaries(micro):
        f = functools.partial(grad_cache.value_and_grad, deep, total, micro={"x": micro})
        return jax.jit(f).lower(weights, x).compile().memory_analysis().temp_size_in_bytes

    kept = 16 * 256 * 64 * 4  # each layer's output, of all rows
    assert temporaries(256) > kept
    assert temporaries(8) < kept / 4 + weights.nbytes * 2


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
    run = lambda micro: grad_cache.value_and_grad(read, loss, params, inputs(), micro=micro)
    with pytest.raises(ValueError, match=r"micro\['query'\]=3.*8 rows"):
        run({"query": 3, "positive": 4, "negative": 4})
    with pytest.raises(KeyError, match="positive"):
        run({"query": 2})
    uneven = {"x": {"a": jnp.ones((4, 2)), "b": jnp.ones(3)}}
    with pytest.raises(ValueError, match=r"\[3, 4\] rows"):
        grad_cache.value_and_grad(read, loss, params, uneven, micro={"x": 1})
