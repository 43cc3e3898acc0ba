"""Rotary position embedding (arXiv:2104.09864) and the ways checkpoints stretch it."""

import math

import jax.numpy as jnp
import numpy as np


def frequencies(c):
    """(inverse wavelengths [N/2] f64, factor on cos and sin) of a decoder config. Host numpy."""
    inverse = c.rope_theta ** (-np.arange(0, c.N, 2, dtype=np.float64) / c.N)
    if c.rope_scaling is None:
        return inverse, 1.0
    scaling = dict(c.rope_scaling)
    return SCALINGS[scaling["rope_type"]](inverse, scaling, c)


def angles(position, c):
    """cos and sin [..., 1, N/2] f32 for positions [...]; the 1 broadcasts over heads."""
    inverse, factor = frequencies(c)
    angle = position[..., None, None].astype(jnp.float32) * jnp.asarray(inverse, jnp.float32)
    return jnp.cos(angle) * factor, jnp.sin(angle) * factor


def rotate(x_BTHN, cos, sin):
    """Rotates the pairs (x_i, x_{i+N/2}), the halves convention of Hugging Face checkpoints."""
    a, b = jnp.split(x_BTHN.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1).astype(x_BTHN.dtype)


def longest(c):
    """Positions that the encoding reaches: the checkpoint's, or those its rope_scaling adds.

    linear and yarn are written beside the number of positions before the stretching, or name it
    themselves; llama3's checkpoints already count the stretched ones.
    """
    scaling = dict(c.rope_scaling or ())
    if scaling.get("rope_type") not in ("linear", "yarn"):
        return c.context
    original = scaling.get("original_max_position_embeddings") or c.context
    return max(c.context, int(original * scaling["factor"]))


def check_length(c, length, settings, fix):
    """Refuses sequences longer than that; settings: the keys, with values, that ask for them."""
    if length > longest(c):
        raise ValueError(
            f"{settings} ask for {length} positions, beyond the model's context of {longest(c)} "
            f"(max_position_embeddings={c.context}, rope_scaling={dict(c.rope_scaling or ())}): "
            f"{fix}, or stretch it by a rope_scaling (yarn) in the checkpoint's config.json"
        )


def _linear(inverse, scaling, c):
    return inverse / scaling["factor"], 1.0


def _llama3(inverse, scaling, c):
    """Long wavelengths are divided by the factor, short ones kept, those between interpolated."""
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    turns = scaling["original_max_position_embeddings"] * inverse / (2 * math.pi)
    keep = np.clip((turns - low) / (high - low), 0, 1)
    return inverse * (keep + (1 - keep) / scaling["factor"]), 1.0


def _yarn(inverse, scaling, c):
    """YaRN (arXiv:2309.00071, eq. 17-22): a ramp over dimensions and a temperature on angles."""
    factor = scaling["factor"]
    original = scaling.get("original_max_position_embeddings") or c.context
    dimension = lambda turns: (
        c.N * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(c.rope_theta))
    )
    low, high = dimension(scaling.get("beta_fast", 32)), dimension(scaling.get("beta_slow", 1))
    if scaling.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, c.N - 1)
    ramp = np.clip((np.arange(c.N // 2) - low) / max(high - low, 1e-3), 0, 1)
    if scaling.get("attention_factor") is not None:
        temperature = scaling["attention_factor"]
    else:
        temperature = 0.1 * math.log(factor) + 1.0 if factor > 1 else 1.0
    return inverse * (1 - ramp) + inverse / factor * ramp, temperature


SCALINGS = {
    "default": lambda inverse, scaling, c: (inverse, 1.0),
    "linear": _linear,
    "llama3": _llama3,
    "yarn": _yarn,
}
