"""What every model here is made of: the linear map and the norm."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Adapted(NamedTuple):
    """A frozen matrix and a trained change of low rank, w + a b. May stand where a matrix does."""

    w: jax.Array  # [in.., out..]
    a: jax.Array  # [in.., r]
    b: jax.Array  # [r, out..]


def linear(x, w, axes=1):
    """Σ over the last `axes` axes of x and the first of w. The product runs in x's type.

    x: [.., in]; w: [in, out], either side of one or several axes, any float, or Adapted. The
    gradient of w is summed in f32 if w is f32: master weights go in, and activations decide the
    precision.
    """
    if isinstance(w, Adapted):
        change = linear(linear(x, w.a, axes), w.b)
        return linear(x, jax.lax.stop_gradient(w.w), axes) + change
    fan_in, out = math.prod(w.shape[:axes]), w.shape[axes:]
    lead = x.shape[: x.ndim - axes]
    y = _product(x.reshape(*lead, fan_in), w.reshape(fan_in, math.prod(out)))
    return y.reshape(*lead, *out)


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
