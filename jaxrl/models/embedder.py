"""Embedders: a model, how its hidden states become one vector, and what it wants to read.

    vectors_BD = embed(params, sequences, c)

A causal decoder (Qwen3-Embedding, E2Rank, any other), an encoder (MiniLM, E5, BGE), or a model that
sees pictures and clips too (Qwen3-VL-Embedding). Files are read in embedder_files.py, contents in
data/embedding_sequences.py; training is a matter of the losses.
"""

import dataclasses

import jax.numpy as jnp

from jaxrl.data.embedding_prompts import TEMPLATES
from jaxrl.models import decoder, encoder, heads, qwen3_vl, rotary


@dataclasses.dataclass(frozen=True)
class Config:
    """One embedder."""

    model: decoder.Config | encoder.Config | qwen3_vl.Config
    pooling: str  # a key of POOLINGS
    template: str = "plain"  # a key of TEMPLATES
    normalize: bool = True  # vectors of length 1
    dim: int = 0  # leading components that are kept, as Matryoshka training allows; 0 = all
    limit: int = 0  # tokens of a text; 0 = as many as the model has positions

    def __post_init__(self):
        for key, table in (("pooling", POOLINGS), ("template", TEMPLATES)):
            if vars(self)[key] not in table:
                raise ValueError(f"{key}={vars(self)[key]!r}: give one of {sorted(table)}")
        if not 0 <= self.dim <= self.model.D:
            raise ValueError(
                f"dim={self.dim}: the model gives {self.model.D} components; give at most those, "
                "or 0 for all"
            )
        if self.limit < 0:
            raise ValueError(f"limit={self.limit}: give tokens of a text, or 0 for all positions")
        check_length(self.model, self.limit)

    @property
    def width(self):
        """Components of a vector."""
        return self.dim or self.model.D

    @property
    def longest(self):
        """Tokens of a text at most, visual ones included."""
        return self.limit or _positions(self.model)

    @property
    def tower(self):
        """vision.Config of a model that sees; None = it reads text alone."""
        return tower(self.model)


def embed(params, sequences, c, *, dtype=jnp.float32, remat="none"):
    """Vectors [B, c.width] f32 of data.sequences.Sequences [B, T].

    Padding on either side changes nothing. A row without a valid token gives NaN. dtype, remat: as
    decoder.forward's.
    """
    hidden_BTD = HIDDEN[type(c.model)](params, sequences, c.model, dtype=dtype, remat=remat)
    return pool(hidden_BTD, sequences.valid, c)


def pool(hidden_BTD, valid_BT, c):
    """One vector [B, c.width] f32 a row of hidden states, of unit length if c.normalize.

        e = h[: dim] / ‖h[: dim]‖,   h the last or first valid state, or the mean of all

    Cut before it is normalised: Kusupati et al. 2022, arXiv:2205.13147.
    """
    x_BD = POOLINGS[c.pooling](hidden_BTD.astype(jnp.float32), valid_BT)[:, : c.width]
    if not c.normalize:
        return x_BD
    return x_BD / jnp.maximum(jnp.linalg.norm(x_BD, axis=-1, keepdims=True), 1e-12)


def _mean(hidden_BTD, valid_BT):
    total_BD = jnp.where(valid_BT[..., None], hidden_BTD, 0).sum(1)
    return total_BD / valid_BT.sum(1, keepdims=True)


def _first(hidden_BTD, valid_BT):
    return heads.last(hidden_BTD[:, ::-1], valid_BT[:, ::-1])


def causal(params, sequences, c, **how):
    """Hidden states [B, T, D] of a decoder over rows with one text each; c: decoder.Config."""
    tokens, valid = sequences.tokens, sequences.valid
    position = jnp.maximum(jnp.cumsum(valid, axis=1) - 1, 0)
    lo, hi = jnp.zeros_like(tokens), valid.astype(tokens.dtype)
    return decoder.forward(params, tokens, position, lo, hi, c, **how)


def _both_ways(params, sequences, c, **how):
    return encoder.forward(params, sequences.tokens, sequences.valid, c, **how)


def tower(model):
    """The vision.Config of a model's config; None = it reads text alone."""
    return model.vision if isinstance(model, qwen3_vl.Config) else None


def check_length(model, limit):
    """Refuses sequences that are longer than a model has positions."""
    fix = "lower limit"
    if not isinstance(model, encoder.Config):
        rotary.check_length(_text(model), limit, f"limit={limit}", fix)
    elif limit > model.context:
        raise ValueError(
            f"limit={limit} is beyond the {model.context} positions that the model learned: {fix}"
        )


def _positions(model):
    return model.context if isinstance(model, encoder.Config) else rotary.longest(_text(model))


def _text(model):
    """The decoder of a model that sees, or the model."""
    return model.text if isinstance(model, qwen3_vl.Config) else model


POOLINGS = {"last": heads.last, "mean": _mean, "cls": _first}  # (hidden [B, T, D], valid [B, T])
HIDDEN = {decoder.Config: causal, encoder.Config: _both_ways, qwen3_vl.Config: qwen3_vl.hidden}
