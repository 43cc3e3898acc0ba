"""Chunked log-probs: values, both gradients, the memory they promise, and the one shift."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import oracles_kernels
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxrl.ops import logprobs

X, D, V = 37, 8, 50


def _inputs(seed=0, tokens=X):
    rng = np.random.default_rng(seed)
    hidden, head = rng.normal(size=(tokens, D)), rng.normal(size=(V, D))
    return hidden.astype(np.float32), head.astype(np.float32), rng.integers(0, V, tokens)


def _naive(hidden, head, target, temperature):
    log_p = jax.nn.log_softmax(hidden @ head.T / temperature)
    logp = jnp.take_along_axis(log_p, target[:, None], 1)[:, 0]
    return logp, -(jnp.exp(log_p) * log_p).sum(1)


def _weighted(score, hidden, head, weights):
    logp, entropy = score(hidden, head)
    return (weights[0] * logp + weights[1] * entropy).sum()


@pytest.mark.parametrize("chunk", [1, 16, 37, 512])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_matches_the_loop(chunk, temperature):
    hidden, head, target = _inputs()
    score = partial(logprobs.token_logprobs, temperature=temperature, chunk=chunk)
    got = jax.jit(score)(hidden, head, target)
    want = oracles_kernels.token_logprobs(hidden, head, target, temperature)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("weights", [(1, 0), (0, 1), "random"])
def test_gradients_match_the_unchunked_form(weights):
    """Pins each output's own cotangent: a missing entropy gradient shows nowhere else."""
    hidden, head, target = _inputs(1)
    if weights == "random":
        weights = np.random.default_rng(2).normal(size=(2, X)).astype(np.float32)
    ours = lambda h, w: logprobs.token_logprobs(h, w, target, temperature=0.7, chunk=16)
    naive = lambda h, w: _naive(h, w, target, 0.7)
    got = jax.jit(jax.grad(partial(_weighted, ours), (0, 1)))(hidden, head, weights=weights)
    want = jax.grad(partial(_weighted, naive), (0, 1))(hidden, head, weights=weights)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-4, atol=5e-5)


def test_bf16_products_keep_a_f32_softmax():
    hidden, head, target = _inputs(3)
    low = lambda x: jnp.asarray(x, jnp.bfloat16)
    score = lambda h, w: logprobs.token_logprobs(h, w, target, chunk=16)
    logp, entropy = score(low(hidden), low(head))
    rounded = [np.asarray(low(x), np.float32) for x in (hidden, head)]
    want = oracles_kernels.token_logprobs(*rounded, target, 1.0)
    np.testing.assert_allclose((logp, entropy), want, rtol=1e-4, atol=5e-5)
    weights = np.ones((2, X), np.float32)
    grads = jax.grad(partial(_weighted, score), (0, 1))(low(hidden), low(head), weights=weights)
    want = jax.grad(partial(_weighted, score), (0, 1))(*rounded, weights=weights)
    for g, w in zip(grads, want, strict=True):
        assert g.dtype == jnp.bfloat16
        np.testing.assert_allclose(np.asarray(g, np.float32), w, rtol=0.05, atol=0.05)


def test_gradients_stay_finite_where_probabilities_vanish():
    hidden, head, target = _inputs(4)
    score = lambda h, w: logprobs.token_logprobs(h, w, target, chunk=16)
    weights = np.ones((2, X), np.float32)
    grads = jax.grad(partial(_weighted, score), (0, 1))(hidden * 1e3, head, weights=weights)
    assert all(np.isfinite(g).all() for g in grads)


def _compiled_gradient(tokens, chunk=64):
    hidden, head, target = _inputs(tokens=tokens)
    weights = np.ones((2, tokens), np.float32)
    score = lambda h, w: logprobs.token_logprobs(h, w, target, chunk=chunk)
    return (
        jax.jit(jax.grad(partial(_weighted, score), (0, 1))).lower(hidden, head, weights).compile()
    )


def test_no_buffer_of_tokens_by_vocabulary():
    """Pins the failure that peers know best: memory that grows by V floats a token."""
    sizes = lambda text: [
        np.prod([int(n) for n in s.split(",")]) for s in re.findall(r"\[([\d,]+)\]", text)
    ]
    small, large = _compiled_gradient(512), _compiled_gradient(2048)
    assert max(sizes(large.as_text())) < 2048 * V
    growth = large.memory_analysis().temp_size_in_bytes - small.memory_analysis().temp_size_in_bytes
    assert growth < (2048 - 512) * 4 * (4 * D + 16)  # hidden states and scalars, nothing of width V


def test_a_sharded_batch_gives_the_same_numbers_and_stays_sharded():
    """Pins the chunking to tokens i, i + n, …: a chunk of neighbours would sit on one device."""
    mesh = Mesh(np.array(jax.devices()), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    hidden, head, target = _inputs(5, tokens=128)
    place = lambda x, *axes: jax.device_put(x, NamedSharding(mesh, P(*axes)))
    score = jax.jit(partial(logprobs.token_logprobs, chunk=32))
    arguments = place(hidden, "data"), place(head), place(target, "data")
    text = score.lower(*arguments).compile().as_text()
    assert f"f32[4,{V}]" in text and f"f32[32,{V}]" not in text
    np.testing.assert_allclose(score(*arguments), score(hidden, head, target), rtol=1e-5, atol=1e-5)


def test_scored_pairs_each_token_with_the_state_that_predicts_it():
    """Pins the shift: a branch's first token is predicted by the trunk's last one."""
    rng = np.random.default_rng(6)
    hidden = rng.normal(size=(2, 7, D)).astype(np.float32)
    tokens = rng.integers(0, V, (2, 7))
    slot = np.array([[3, 4, 5, 6], [1, 2, 0, 0]])
    parent = np.array([[2, 3, 2, 5], [0, 1, 0, 0]])
    got = jax.jit(logprobs.scored)(hidden, tokens, slot, parent)
    for g, w in zip(got, oracles_kernels.scored(hidden, tokens, slot, parent), strict=True):
        np.testing.assert_array_equal(g, w)
