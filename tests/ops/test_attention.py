"""Forest attention: equal to a loop over visible keys, whole or in chunks, and blind elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.ops import attention, blockwise_attention

# Two trees, the first of three levels, then padding: depth-first columns of one row.
LO = [0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 0, 0]
HI = [3, 3, 2, 2, 1, 2, 2, 3, 3, 5, 5, 5, 0, 0]
PLAIN_LO, PLAIN_HI = [0] * 14, [1] * 11 + [0] * 3
TREE = attention.Forest(jnp.array([LO, PLAIN_LO]), jnp.array([HI, PLAIN_HI]))
REAL = np.array([HI, PLAIN_HI]) > 0


def draw(N=2, W=14, H=4, K=2, d=8, dtype=jnp.float32):
    rng = np.random.default_rng(0)
    one = lambda heads: jnp.asarray(rng.normal(size=(N, W, heads, d)), dtype)
    return one(H), one(K), one(K)


def oracle(q, k, v, tree):
    """Query by query, over the keys on its path to the root."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    lo, hi = (np.asarray(x) for x in tree)
    out = np.zeros(q.shape)
    for n, i, h in np.ndindex(*q.shape[:3]):
        path = [j for j in range(i + 1) if lo[n, j] <= lo[n, i] < hi[n, j]]
        if path:
            key = h // (q.shape[2] // k.shape[2])
            s = np.array([q[n, i, h] @ k[n, j, key] for j in path]) / q.shape[3] ** 0.5
            w = np.exp(s - s.max())
            out[n, i, h] = (w / w.sum()) @ v[n, path, key]
    return out


@pytest.fixture(params=["dense", "chunked"])
def path(request, monkeypatch):
    """Both ways to compute it, in chunks so small that the rows span several."""
    monkeypatch.setattr(attention, "CHUNK", 5)
    monkeypatch.setattr(blockwise_attention, "CHUNK", 8)
    monkeypatch.setattr(attention, "DENSE", 2048 if request.param == "dense" else 0)


def test_equals_the_loop(path):
    q, k, v = draw()
    got = jax.jit(lambda *x: attention.forest(*x, TREE))(q, k, v)
    np.testing.assert_allclose(got[REAL], oracle(q, k, v, TREE)[REAL], atol=1e-5)
    assert np.isfinite(got).all()  # padding gives junk, never NaN: 0 · NaN would spread


def weighted_sum(q, k, v):
    y = attention.forest(q, k, v, TREE)
    weight = jnp.cos(jnp.arange(y.size)).reshape(y.shape)
    return (jnp.where(REAL[:, :, None, None], y, 0) * weight).sum()


def test_dense_and_chunked_have_equal_gradients(monkeypatch):
    """An online softmax with a slip in its rescaling can agree in value on easy rows alone."""
    found = []
    for dense, chunk in ((2048, 128), (2048, 5), (0, 8)):
        monkeypatch.setattr(attention, "DENSE", dense)
        monkeypatch.setattr(attention, "CHUNK", chunk)
        monkeypatch.setattr(blockwise_attention, "CHUNK", chunk)
        found.append(jax.jit(jax.value_and_grad(weighted_sum, (0, 1, 2)))(*draw()))
    for other in found[1:]:
        for got, want in zip(jax.tree.leaves(other), jax.tree.leaves(found[0]), strict=True):
            np.testing.assert_allclose(got, want, atol=2e-5)
    for grad in jax.tree.leaves(found[0][1]):
        assert np.abs(grad).max() > 0.01
        assert (np.asarray(grad)[~REAL] == 0).all()


def test_no_gradient_from_an_invisible_key(path):
    """Leaks would train one group on another: the Jacobian is exactly zero off the mask."""
    q, k, v = draw(N=1, H=2, K=1, d=4)
    tree = jax.tree.map(lambda x: x[:1], TREE)
    read = lambda k, v: attention.forest(q, k, v, tree)[0].sum((1, 2))
    d_k, d_v = jax.jit(jax.jacrev(read, (0, 1)))(k, v)  # [W, 1, W, K, d]
    touched = sum(np.abs(d[:, 0]).sum((2, 3)) for d in (d_k, d_v)) > 0
    lo, hi = np.array(LO), np.array(HI)
    columns = np.arange(len(lo))
    seen = (columns <= columns[:, None]) & (lo <= lo[:, None]) & (lo[:, None] < hi)
    real = hi > 0
    np.testing.assert_array_equal(touched[real], seen[real])


def test_bf16_stays_in_bf16_with_a_softmax_in_f32(path):
    q, k, v = draw(dtype=jnp.bfloat16)
    got = attention.forest(q, k, v, TREE)
    assert got.dtype == jnp.bfloat16
    want = oracle(*(x.astype(jnp.float32) for x in (q, k, v)), TREE)
    np.testing.assert_allclose(got[REAL].astype(np.float32), want[REAL], atol=0.05)
