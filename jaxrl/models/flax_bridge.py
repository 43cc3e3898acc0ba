"""Policy, reward model and embedder as `nnx.Module`s, for use inside Flax code.

The modules hold the same arrays in the same tree and call the same pure functions; nothing of the
library depends on them. `from_nnx(to_nnx(params, c))` is params.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from jaxrl.models import decoder, embedder, heads


class Policy(nnx.Module):
    """The decoder with its output head."""

    def __init__(self, params, c):
        self.params = nnx.data(jax.tree.map(nnx.Param, params))
        self.c = c

    def __call__(self, tokens, valid=None):
        """Next-token logits [B, T, V] f32 of tokens [B, T]; valid [B, T] bool marks no padding."""
        params = from_nnx(self)
        hidden_BTD = decoder.forward(params, tokens, *_plain(tokens, valid), self.c)
        logits_BTV = jnp.einsum("btd,vd->btv", hidden_BTD, decoder.head(params))
        return logits_BTV.astype(jnp.float32)


class Reward(nnx.Module):
    """The decoder with a scalar head, read at the last valid token."""

    def __init__(self, params, c):
        self.params = nnx.data(jax.tree.map(nnx.Param, params))
        self.c = c

    def __call__(self, tokens, valid=None):
        """Rewards [B] f32 of tokens [B, T]; valid [B, T] bool marks what is no padding."""
        return heads.reward(from_nnx(self), tokens, *_plain(tokens, valid), self.c)


class Embedder(nnx.Module):
    """A model whose hidden states become one vector; c: embedder.Config."""

    def __init__(self, params, c):
        self.params = nnx.data(jax.tree.map(nnx.Param, params))
        self.c = c

    def __call__(self, sequences):
        """Vectors [B, c.width] f32 of data.sequences.Sequences [B, T], pictures included."""
        return embedder.embed(from_nnx(self), sequences, self.c)


def to_nnx(params, c):
    """A module sharing the tree's arrays: an Embedder of an embedder.Config, a Reward if the tree
    has a "scalar" head, else a Policy."""
    if isinstance(c, embedder.Config):
        return Embedder(params, c)
    return Reward(params, c) if "scalar" in params else Policy(params, c)


def from_nnx(module):
    """The parameter tree of such a module: nested dicts of the arrays it holds."""
    is_param = lambda x: isinstance(x, nnx.Param)
    return jax.tree.map(lambda p: p[...], module.params, is_leaf=is_param)


def _plain(tokens, valid):
    """position, lo, hi of rows that hold one sequence each, padded anywhere."""
    valid = jnp.ones(tokens.shape, bool) if valid is None else valid
    position = jnp.maximum(jnp.cumsum(valid, axis=1) - 1, 0)
    return position, jnp.zeros_like(tokens), valid.astype(tokens.dtype)
