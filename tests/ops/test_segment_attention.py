"""Attention inside segments: equal to a loop, whole or in chunks of queries, blind elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.ops import segment_attention

SEGMENT = np.array([[0, 0, 0, 1, 1, 2, 2, 2, 2, 2, -1], [3, 3, 3, 3, 3, 3, 3, 7, -1, -1, -1]])


def draw(N=2, W=11, H=2, d=4):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=(N, W, H, d)), jnp.float32) for _ in range(3)]


def oracle(q, k, v, segment):
    """Query by query, over the keys of its segment, earlier and later ones."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    out = np.zeros(q.shape)
    for n, i, h in np.ndindex(*q.shape[:3]):
        seen = [j for j in range(q.shape[1]) if segment[n, j] == segment[n, i]]
        e = np.exp([q[n, i, h] @ k[n, j, h] / q.shape[3] ** 0.5 for j in seen])
        out[n, i, h] = sum(e_j * v[n, j, h] for e_j, j in zip(e, seen, strict=True)) / e.sum()
    return out


def value(chunk, q, k, v):
    y = segment_attention.segments(q, k, v, jnp.asarray(SEGMENT), chunk=chunk)
    return (y * jnp.cos(jnp.arange(y.size)).reshape(y.shape)).sum(), y


def test_equals_the_loop_and_chunks_change_nothing():
    """11 queries in chunks of 4: the last chunk is padded, and its padding must stay outside."""
    q, k, v = draw()
    run = lambda chunk: jax.jit(
        jax.value_and_grad(lambda *x: value(chunk, *x), argnums=(0, 1, 2), has_aux=True)
    )
    (_, whole), d_whole = run(16)(q, k, v)
    (_, parts), d_parts = run(4)(q, k, v)
    np.testing.assert_allclose(whole, oracle(q, k, v, SEGMENT), atol=1e-5)
    np.testing.assert_allclose(parts, whole, atol=1e-6)
    for x, y in zip(d_parts, d_whole, strict=True):
        assert np.isfinite(x).all() and np.abs(x).max() > 0
        np.testing.assert_allclose(x, y, atol=1e-5)
