"""Products of sorted rows with a matrix a group, on both of its paths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.ops import grouped

COUNTS = {
    "even": [5, 5, 5, 5],
    "some empty": [0, 9, 0, 11],
    "one has all": [0, 0, 20, 0],
    "rows left over": [3, 0, 8, 2],
    "no rows": [0, 0, 0, 0],
    "blocks of many": [1, 17, 1, 1],
}


@pytest.fixture(params=["cpu", "tpu"])
def backend(request, monkeypatch):
    """The accelerators' path too: its lowering for a CPU is slow, but right."""
    monkeypatch.setattr(jax, "default_backend", lambda: request.param)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
    return draw(20, 6), draw(4, 6, 5), draw(20, 5)


def loop(x, w, count):
    y, start = np.zeros((len(x), w.shape[2])), 0
    for e, n in enumerate(count):
        for i in range(start, start + n):
            y[i] = x[i].astype(np.float64) @ w[e]
        start += n
    return y


def test_each_row_meets_its_own_matrix_and_so_do_gradients(data, backend):
    """d_x_i = W dy_i, d_W_e = Σ x_i dy_iᵀ; a group without rows and rows without a group get 0."""
    x, w, dy = data

    @jax.jit
    def run(x, w, count):
        y, pull = jax.vjp(lambda x, w: grouped.product(x, w, count), x, w)
        return y, *pull(jnp.asarray(dy))

    for name, count in COUNTS.items():
        y, d_x, d_w = run(x, w, jnp.array(count))
        of = np.repeat(np.arange(4), count)
        want_x, want_w = np.zeros(x.shape), np.zeros(w.shape)
        for i, e in enumerate(of):
            want_x[i] = w[e].astype(np.float64) @ dy[i]
            want_w[e] += np.outer(x[i], dy[i])
        np.testing.assert_allclose(y, loop(x, w, count), atol=1e-5, err_msg=name)
        np.testing.assert_allclose(d_x, want_x, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(d_w, want_w, atol=1e-5, err_msg=name)
        assert not np.asarray(d_x)[len(of) :].any()


def test_rows_left_over_may_hold_anything(data, backend):
    """Other devices' tokens lie there: an overflow among them must not reach a gradient."""
    x, w, dy = map(jnp.array, data)
    x = x.at[13:].set(jnp.inf)
    count = jnp.array(COUNTS["rows left over"])
    total = lambda x, w: (grouped.product(x, w, count) * dy).sum()
    assert all(np.isfinite(g).all() for g in jax.jit(jax.grad(total, (0, 1)))(x, w))


def test_products_run_in_the_rows_type_and_sum_in_the_weights(data, backend):
    x, w, dy = map(jnp.array, data)
    x = x.astype(jnp.bfloat16)
    y, pull = jax.vjp(lambda x, w: grouped.product(x, w, jnp.array([5, 5, 5, 5])), x, w)
    d_x, d_w = pull(dy.astype(jnp.bfloat16))
    assert (y.dtype, d_x.dtype, d_w.dtype) == (jnp.bfloat16, jnp.bfloat16, jnp.float32)
    np.testing.assert_allclose(y.astype(np.float32), loop(data[0], w, [5] * 4), atol=0.1)
