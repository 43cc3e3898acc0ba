"""What every model here is made of: the linear map and the norms."""

import math

import jax
import jax.numpy as jnp
from flax import struct


@struct.dataclass
class Quantized:
    """A frozen matrix in int8, w = q · scale: one scale an output channel. Stands for a matrix."""

    q: jax.Array  # [in.., out..] int8, within ± 127
    scale: jax.Array  # [1.., out..] f32


@struct.dataclass
class Adapted:
    """A frozen matrix and a trained change of low rank, w + scale · a b. Stands for a matrix."""

    w: jax.Array | Quantized  # [in.., out..]
    a: jax.Array  # [in.., r]
    b: jax.Array  # [r, out..]
    scale: float = struct.field(pytree_node=False)


def linear(x, w, axes=1):
    """Σ over the last `axes` axes of x and the first of w. The product runs in x's type.

    x: [.., in]; w: [in, out], either side of one or several axes, any float, Quantized or Adapted.
    The gradient of w is summed in f32 if w is f32: master weights go in, and activations decide the
    precision.
    """
    if isinstance(w, Adapted):
        change = linear(linear(x, w.a, axes), w.b * w.scale)
        return linear(x, jax.lax.stop_gradient(w.w), axes) + change
    matrix = w.q if isinstance(w, Quantized) else w
    out, lead = matrix.shape[axes:], x.shape[: x.ndim - axes]
    x, matrix = x.reshape(*lead, -1), matrix.reshape(-1, math.prod(out))
    if isinstance(w, Quantized):
        return _dequantized(x, matrix, w.scale.reshape(-1)).reshape(*lead, *out)
    return _product(x, matrix).reshape(*lead, *out)


def quantize(w, axes):
    """A matrix whose `axes` are summed over -> Quantized: symmetric, one scale an output channel.

        s = max |w| / 127 over the channel,   q = round(w / s),   |w − q s| ≤ s / 2

    So a product errs by at most s / 2 · Σ|x|. A channel of zeros has scale 1.
    """
    largest = jnp.abs(w).max(axes, keepdims=True).astype(jnp.float32)
    scale = jnp.where(largest > 0, largest / 127, 1.0)
    return Quantized(jnp.round(w / scale).astype(jnp.int8), scale)


def dense(w, dtype=jnp.float32):
    """A matrix, frozen in whatever form, as an array."""
    w = w.q * w.scale if isinstance(w, Quantized) else w
    return w.astype(dtype)


@jax.custom_vjp
def _dequantized(x, q, scale):
    y = jnp.matmul(x, q.astype(x.dtype), preferred_element_type=jnp.float32)
    return (y * scale).astype(x.dtype)


def _dequantized_forward(x, q, scale):
    return _dequantized(x, q, scale), (q, scale)  # plain autodiff would keep q as floats


def _dequantized_backward(saved, dy):
    q, scale = saved
    dy = (dy * scale).astype(dy.dtype)
    return dy @ q.astype(dy.dtype).T, None, None


_dequantized.defvjp(_dequantized_forward, _dequantized_backward)


@jax.custom_vjp
def _product(x, w):
    return x @ w.astype(x.dtype)


def _forward(x, w):
    return _product(x, w), (x, w)


def _backward(saved, dy):
    """Both gradients as products of two matrices, row major as they lie.

    Differentiating the batched product instead makes XLA's CPU compiler transpose dy, and repeat
    the element-wise work that led to it in the transposed, slow order.
    """
    x, w = saved
    flat = lambda a: jax.lax.optimization_barrier(a.reshape(-1, a.shape[-1]))
    d_w = jnp.einsum("xi,xo->io", flat(x), flat(dy), preferred_element_type=w.dtype)
    return dy @ w.astype(dy.dtype).T, d_w


_product.defvjp(_forward, _backward)


def rms_norm(x, scale, eps):
    """x / rms(x) · scale over the last axis (arXiv:1910.07467, eq. 4), in f32."""
    x32 = x.astype(jnp.float32)
    x32 = x32 * jax.lax.rsqrt(jnp.square(x32).mean(-1, keepdims=True) + eps)
    return (x32 * scale).astype(x.dtype)


def layer_norm(x, scale, bias, eps):
    """(x − mean) / √(variance + ε) · scale + bias over the last axis (arXiv:1607.06450), in f32."""
    x32 = x.astype(jnp.float32)
    x32 = x32 - x32.mean(-1, keepdims=True)
    x32 = x32 * jax.lax.rsqrt(jnp.square(x32).mean(-1, keepdims=True) + eps)
    return (x32 * scale + bias).astype(x.dtype)
