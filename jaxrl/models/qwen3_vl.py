"""Qwen3-VL (arXiv:2511.21631), its embedders and rerankers: the vision tower under our decoder.

    row = visual_prompts.render(tokenizer, text, visuals)
    hidden_BTD = hidden(params, sequences.pad([row], tower=c.vision, ...), c)

The parameters are the decoder's with one more entry, "visual"; so every function that takes the
decoder's tree takes these, and text alone computes what the decoder computes. Generating from
pictures is left out: the sampler knows no visual tokens.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from jaxrl.models import decoder, rotary, vision
from jaxrl.models.layers import rms_norm
from jaxrl.ops import attention
from jaxrl.parallel import mesh, rules


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of one checkpoint."""

    text: decoder.Config
    vision: vision.Config
    mrope: tuple[int, int, int] = (24, 20, 20)  # pairs of a head that turn by time, row, column
    image_id: int = 151655  # of the tokens that hold visual ones, and of those around them
    video_id: int = 151656
    start_id: int = 151652
    end_id: int = 151653

    def __post_init__(self):
        if self.vision.out != self.text.D:
            raise ValueError(
                f"vision_config.out_hidden_size={self.vision.out} is not text_config.hidden_size="
                f"{self.text.D}: the config.json is damaged; fetch it again"
            )
        if len(self.vision.taps) > self.text.L:
            raise ValueError(
                f"deepstack_visual_indexes={list(self.vision.taps)} ask for as many layers of the "
                f"decoder, which has num_hidden_layers={self.text.L}"
            )

    @property
    def V(self):
        """The vocabulary."""
        return self.text.V

    @property
    def D(self):
        """The width of a hidden state."""
        return self.text.D

    @property
    def context(self):
        """Positions that the checkpoint names."""
        return self.text.context


class Visual(NamedTuple):
    """What the tower saw of each sequence, as the decoder takes it in."""

    tokens: jax.Array  # [1 + taps, B, M, D]: in place of embeddings, then for DeepStack
    index: jax.Array  # [B, T] int32: which of the sequence's M; −1 = text


def specs(c):
    """The parameter tree as specs."""
    return decoder.specs(c.text) | {"visual": vision.specs(c.vision)}


def hidden(params, sequences, c, *, dtype=jnp.float32, remat="none"):
    """Hidden states after the last norm [B, T, D] of data.sequences.Sequences [B, T].

    dtype: of activations and products (norms, softmax and rotation are in f32); remat: a key of
    decoder.REMAT, for the layers of both.
    """
    valid = jnp.asarray(sequences.valid)
    lo, hi = jnp.zeros_like(sequences.tokens), valid.astype(jnp.int32)
    if sequences.position is None:
        position = jnp.maximum(jnp.cumsum(valid, axis=1) - 1, 0)
    else:
        position = jnp.moveaxis(sequences.position, 1, 0)
    visual = None
    if sequences.patches is not None:
        visual = Visual(_seen(params, sequences.patches, c, dtype, remat), sequences.visual)
    how = {"dtype": dtype, "remat": remat}
    return forward(params, sequences.tokens, position, lo, hi, visual, c, **how)


def _seen(params, patches, c, dtype, remat):
    """Visual tokens [1 + taps, B, N · W / merge², D] of patches [B, N, W]."""
    B, N = patches.frame.shape[:2]
    rows = jax.tree.map(lambda x: x.reshape(B * N, *x.shape[2:]), patches)
    how = {"dtype": dtype, "remat": decoder.REMAT[remat]}
    seen = vision.forward(params["visual"], rows, c.vision, **how)
    seen = seen.reshape(len(seen), B, -1, c.text.D)
    return mesh.constrain(seen, rules.TRAIN, None, "batch", None, "act_embed")


def forward(params, tokens, position, lo, hi, visual, c, *, dtype=jnp.float32, remat="none"):
    """Hidden states after the last norm [B, T, D] of forest rows with visual tokens in them.

    tokens, lo, hi: [B, T] int32 as decoder.forward's; position: [3, B, T] int32 time, row, column,
    or [B, T] where all three are one; visual: a Visual, or None for text alone.

        x₀ = where(visual, tokens₀, embed)       x_l += where(visual, tokens_l, 0),  l = 1 … taps

    x_l: the stream after the l-th layer. DeepStack: arXiv:2406.04334.
    """
    text = c.text
    forest = attention.Forest(lo, hi)
    attend = lambda q, k, v, _: (attention.forest(q, k, v, forest, split=decoder.SPLIT), None)
    angles = interleaved(position, c) if position.ndim == 3 else rotary.angles(position, text)
    table_VD = mesh.constrain(params["embed"], rules.TRAIN, "vocab", "act_embed")
    x_BTD = table_VD[tokens].astype(dtype)
    if visual is not None:
        x_BTD = jnp.where(_here(visual), _placed(visual.tokens[0], visual, dtype), x_BTD)
    x_BTD = mesh.constrain(x_BTD, rules.TRAIN, "batch", "time", "act_embed")

    def layer(x_BTD, p_l):
        p, l = p_l
        x_BTD = checkpoint_name(x_BTD, decoder.STREAM)
        x_BTD, _ = decoder.block(p, x_BTD, angles, attend, None, text)
        if visual is None:
            return x_BTD, None
        tokens_BMD = visual.tokens[jnp.minimum(l + 1, len(visual.tokens) - 1)]
        here = _here(visual) & (l + 1 < len(visual.tokens))
        return x_BTD + jnp.where(here, _placed(tokens_BMD, visual, dtype), 0), None

    layers = params["layers"], jnp.arange(text.L)
    x_BTD, _ = jax.lax.scan(decoder.REMAT[remat](layer), x_BTD, layers)
    return rms_norm(x_BTD, params["norm"], text.norm_eps)


def _here(visual):
    return (visual.index >= 0)[..., None]


def _placed(tokens_BMD, visual, dtype):
    """The visual token of each column [B, T, D]; the first one where there is none."""
    index_BT1 = jnp.maximum(visual.index, 0)[..., None]
    return jnp.take_along_axis(tokens_BMD, index_BT1, axis=1).astype(dtype)


def interleaved(position, c):
    """cos and sin [B, T, 1, N/2] of positions [3, B, T]: pairs take time, row, column in turn.

    Pair i turns by the row if i ≡ 1 (mod 3) and i < 3 · mrope[1], by the column if i ≡ 2 (mod 3)
    and i < 3 · mrope[2], else by the time. Interleaved M-RoPE, arXiv:2511.21631.
    """
    cos, sin = rotary.angles(position, c.text)  # [3, B, T, 1, N/2]
    i = jnp.arange(c.text.N // 2)
    axis = jnp.where((i % 3 == 1) & (i < 3 * c.mrope[1]), 1, 0)
    axis = jnp.where((i % 3 == 2) & (i < 3 * c.mrope[2]), 2, axis)
    pick = lambda x: jnp.where(axis == 1, x[1], jnp.where(axis == 2, x[2], x[0]))
    return pick(cos), pick(sin)
