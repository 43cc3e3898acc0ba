"""The base model under adapters: nothing moves it, so it may be held in fewer bits.

`qwix` (0.1.8) was tried for int8: its product keeps the weights of every layer in float32 for the
gradient, and its quantization of models wants Flax modules. Ours is `layers.quantize`, ten lines.
"""

import jax.numpy as jnp

from jaxrl.models import decoder
from jaxrl.models.layers import quantize

PRECISIONS = ("float32", "bfloat16", "int8")
KEPT = ("norm", "bias")  # parameters whose name ends so stay in float32: they are small


def reduced(x, name, fan_in, precision):
    """The decoder's parameter `name`, stacked over layers, f32, as `precision` holds it.

    int8: the projections as Quantized, a scale for each output channel of each layer; the embedding
    and the head, from which logits come, as bfloat16. fan_in: as its Spec says.
    """
    if precision == "float32" or name.endswith(KEPT):
        return x
    if precision == "int8" and name in decoder.MATRICES:
        return quantize(x, tuple(range(1, 1 + fan_in)))
    return x.astype(jnp.bfloat16)
