"""Products of sorted rows with a matrix a group: what a mixture of experts is made of.

Accelerators take `jax.lax.ragged_dot`. Its lowering for CPUs multiplies every row with every matrix
(E times the work, measured), so there each group is walked in blocks of rows instead.
"""

import jax
import jax.numpy as jnp
from jax.lax import RaggedDotDimensionNumbers

BLOCK = 128  # rows, at most, that share one read of a matrix


@jax.custom_vjp
def product(x_YD, w_EDF, count_E):
    """y_i = x_i W_e(i), where the first count_0 rows belong to matrix 0, the next count_1 to 1, …

    x: any float, in whose type the product runs; w: any float; count: int32, of sum ≤ Y. Rows past
    that sum give zeros and no gradient.  returns: [Y, F] of x's type. The gradient of w is summed
    in w's type, as for `layers.linear`.
    """
    return _forward(x_YD, w_EDF, count_E)[0]


def _forward(x, w, count):
    return _inside(_rows(x, w.astype(x.dtype), count, 1), count), (x, w, count)


def _backward(saved, dy):
    x, w, count = saved
    dy = _inside(dy, count)
    d_x = _inside(_rows(dy, w.astype(dy.dtype), count, 2), count)
    return d_x, _outer(_inside(x, count), dy, count, w.dtype), None


product.defvjp(_forward, _backward)


def _inside(y_YF, count_E):
    return jnp.where(jnp.arange(len(y_YF))[:, None] < count_E.sum(), y_YF, 0)


def _rows(x, w, count, axis):
    """Each row times its group's matrix, summed over that `axis` of w [E, D, F]."""
    if jax.default_backend() != "cpu":
        return _ragged(x, w, count, (((1,), (axis,)), ((), ())), [0])
    size = _block(x, count)
    x = jnp.pad(x, ((0, size), (0, 0)))

    def put(e, start, _, y):
        """A block may end in rows of later groups: these are written after it."""
        rows = jax.lax.dynamic_slice_in_dim(x, start, size)
        part = jax.lax.dot_general(rows, w[e], (((1,), (axis - 1,)), ((), ())))
        return jax.lax.dynamic_update_slice_in_dim(y, part, start, 0)

    y = jnp.zeros((len(x), w.shape[3 - axis]), x.dtype)
    return _walk(put, y, count, size)[:-size]


def _outer(x, dy, count, dtype):
    """Σ over the rows of each group of x_iᵀ dy_i: [E, D, F]."""
    if jax.default_backend() != "cpu":
        return _ragged(x, dy, count, (((0,), (0,)), ((), ())), [], preferred_element_type=dtype)
    size = _block(x, count)
    x, dy = (jnp.pad(a, ((0, size), (0, 0))) for a in (x, dy))

    def add(e, start, stop, d_w):
        rows, d_rows = (jax.lax.dynamic_slice_in_dim(a, start, size) for a in (x, dy))
        own = (start + jnp.arange(size) < stop)[:, None]
        rows, d_rows = jnp.where(own, rows, 0), jnp.where(own, d_rows, 0)
        return d_w.at[e].add(jnp.einsum("xd,xf->df", rows, d_rows, preferred_element_type=dtype))

    start = jnp.zeros((len(count), x.shape[1], dy.shape[1]), dtype)
    return _walk(add, start, count, size)


def _ragged(x, w, count, dims, groups, **how):
    numbers = RaggedDotDimensionNumbers(dims, [0], groups)
    return jax.lax.ragged_dot_general(x, w, count, numbers, **how)


def _block(x, count):
    """Rows of a block: about a group's mean, so that small groups are not mostly padding."""
    mean = max(1, len(x) // len(count))
    return min(BLOCK, 1 << (mean - 1).bit_length())


def _walk(visit, carry, count_E, size):
    """visit(group, first row, row after the group's last, carry) for each block, in row order."""
    stop_E = jnp.cumsum(count_E)
    blocks_E = -(-count_E // size)
    last_E = jnp.cumsum(blocks_E)

    def block(i, carry):
        e = jnp.searchsorted(last_E, i, side="right")
        inside = i - (last_E[e] - blocks_E[e])
        return visit(e, stop_E[e] - count_E[e] + inside * size, stop_E[e], carry)

    return jax.lax.fori_loop(0, last_E[-1], block, carry)
