"""Qwen3-VL (arXiv:2511.21631), its embedders and rerankers: the vision tower under our decoder.

    batch = visual_prompts.pad([visual_prompts.render(tokenizer, text, visuals)], ...)
    hidden_BTD, valid_BT = hidden(params, batch, c)

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
    headless: bool = False  # untied, and stored without an output matrix: an embedder
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


class Visual(NamedTuple):
    """What the tower saw, as the decoder takes it in."""

    tokens: jax.Array  # [1 + taps, M, D]: in place of embeddings, then for DeepStack
    index: jax.Array  # [B, T] int32: which of the M; −1 = text


def specs(c):
    """The parameter tree as specs."""
    tree = decoder.specs(c.text) | {"visual": vision.specs(c.vision)}
    return {name: s for name, s in tree.items() if not (c.headless and name == "head")}


def head(params, c):
    """The output matrix [V, D]; refuses a checkpoint that has none."""
    if c.headless:
        raise ValueError(
            "this checkpoint has no lm_head and its embedding is not tied: it embeds, but gives no "
            "logits; load a Qwen3-VL or Qwen3-VL-Reranker checkpoint for those"
        )
    return decoder.head(params)


def hidden(params, batch, c, *, dtype=jnp.float32, remat="none"):
    """(hidden states after the last norm [B, T, D], valid [B, T] bool) of a visual_prompts.Batch.

    dtype: of activations and products (norms, softmax and rotation are in f32); remat: a key of
    decoder.REMAT, for the layers of both.
    """
    visual = None
    if batch.patches is not None:
        seen = vision.forward(
            params["visual"], batch.patches, c.vision, dtype=dtype, remat=decoder.REMAT[remat]
        )
        flat = seen.reshape(len(seen), -1, c.text.D)
        visual = Visual(mesh.constrain(flat, rules.TRAIN, None, None, "act_embed"), batch.visual)
    valid = jnp.asarray(batch.valid)
    lo, hi = jnp.zeros_like(batch.tokens), valid.astype(jnp.int32)
    how = {"dtype": dtype, "remat": remat}
    return forward(params, batch.tokens, batch.position, lo, hi, visual, c, **how), valid


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
        tokens_MD = visual.tokens[jnp.minimum(l + 1, len(visual.tokens) - 1)]
        here = _here(visual) & (l + 1 < len(visual.tokens))
        return x_BTD + jnp.where(here, _placed(tokens_MD, visual, dtype), 0), None

    layers = params["layers"], jnp.arange(text.L)
    x_BTD, _ = jax.lax.scan(decoder.REMAT[remat](layer), x_BTD, layers)
    return rms_norm(x_BTD, params["norm"], text.norm_eps)


def _here(visual):
    return (visual.index >= 0)[..., None]


def _placed(tokens_MD, visual, dtype):
    """The visual token of each column [B, T, D]; the first one where there is none."""
    return tokens_MD[jnp.maximum(visual.index, 0)].astype(dtype)


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
