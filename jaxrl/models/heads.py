"""Scalar heads over the decoder: a value per token, a reward per sequence.

A reward model's parameters are the decoder's with one more entry, "scalar"; so every function that
takes the decoder's tree takes the reward model's too.
"""

import jax.numpy as jnp

from jaxrl.models import decoder
from jaxrl.models.spec import Spec


def specs(c):
    """The head's parameters: zeros, so that every value is 0 before the first update."""
    return {"weight": Spec((c.D,), ("embed",), "zeros"), "bias": Spec((), (), "zeros")}


def reward_specs(c):
    """The parameter tree of a reward model."""
    return decoder.specs(c) | {"scalar": specs(c)}


def scalar(p, hidden):
    """One number per hidden state: [.., D] -> [..] f32."""
    weight = p["weight"].astype(jnp.float32)
    return (hidden.astype(jnp.float32) * weight).sum(-1) + p["bias"].astype(jnp.float32)


def last(x, valid):
    """The entry of each row at its last valid token: x [B, T, ..], valid [B, T] bool -> [B, ..].

    NaN for a row without a valid token, which is how an unscorable reward is written.
    """
    index = valid.shape[1] - 1 - jnp.argmax(valid[:, ::-1], axis=1)
    wide = (-1,) + (1,) * (x.ndim - 1)
    found = jnp.take_along_axis(x, index.reshape(wide), axis=1)[:, 0]
    return jnp.where(valid.any(1).reshape(wide[:-1]), found, jnp.nan)


def reward(params, tokens, position, lo, hi, c):
    """Rewards [N] f32 of rows with one sequence each; arguments as decoder.forward's, [N, W]."""
    hidden_NWD = decoder.forward(params, tokens, position, lo, hi, c)
    return scalar(params["scalar"], last(hidden_NWD, lo < hi))
