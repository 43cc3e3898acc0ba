"""Attention over all valid keys, against a loop; whole rows and chunk by chunk."""

import jax
import numpy as np
import oracles_kernels
import pytest

from jaxrl.ops import attention, blockwise_attention


@pytest.mark.parametrize("chunked", [False, True])
def test_it_equals_the_loop_and_ignores_what_is_invalid(monkeypatch, chunked):
    if chunked:  # 13 columns in chunks of 4: the last is not full
        monkeypatch.setattr(attention, "DENSE", 8)
        monkeypatch.setattr(blockwise_attention, "CHUNK", 4)
    rng = np.random.default_rng(0)
    q, k, v = rng.normal(size=(3, 2, 13, 3, 4)).astype(np.float32)
    valid = np.ones((2, 13), bool)
    valid[0, 9:], valid[1, [0, 5]] = False, False
    k[~valid], v[~valid] = 1e4, 1e4  # junk

    def loss(q, k, v):
        y = attention.bidirectional(q, k, v, valid)
        return (y[valid] ** 2).sum(), y

    (_, got), grads = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))(q, k, v)
    wanted = oracles_kernels.bidirectional(q, k, v, valid)
    np.testing.assert_allclose(got[valid], wanted[valid], atol=1e-5)
    assert all(np.isfinite(g).all() for g in grads) and np.isfinite(got).all()
    assert (grads[1][~valid] == 0).all() and (grads[2][~valid] == 0).all()
