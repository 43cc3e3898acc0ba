"""The base model under adapters: nothing moves it, so it may be held in fewer bits.

`qwix` (0.1.8) was tried for int8: its product keeps the weights of every layer in float32 for the
gradient, and its quantization of models wants Flax modules. Ours is `layers.quantize`, ten lines.
"""

import jax
import jax.numpy as jnp

from jaxrl.models import checkpoints, decoder
from jaxrl.models.layers import quantize

PRECISIONS = ("float32", "bfloat16", "int8")
KEPT = ("norm", "bias")  # parameters whose name ends so stay in float32: they are small


def load(path, c, places, precision):
    """A model's parameters as `precision` holds them, placed by the tree `places`.

    One parameter at a time is read in float32 and reduced, so that the model need not fit in that.
    """
    reduce = jax.jit(reduced, static_argnums=(1, 2, 3))
    keep = lambda x, path, s: reduce(x, path, s.fan_in, precision)
    return checkpoints.load(path, c, places, each=keep)


def reduced(x, path, fan_in, precision):
    """The parameter at `path`, a tuple of names, stacked over layers, f32, as `precision` holds it.

    int8: the decoder's projections as Quantized, a scale for each output channel of each layer; the
    embedding and the head, from which logits come, and a tower as bfloat16. fan_in: as its Spec
    says.
    """
    if precision == "float32" or path[-1].endswith(KEPT):
        return x
    if precision == "int8" and path[0] == "layers" and path[-1] in decoder.MATRICES:
        return quantize(x, tuple(range(1, 1 + fan_in)))
    return x.astype(jnp.bfloat16)
