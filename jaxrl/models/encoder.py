"""The one encoder: BERT, RoBERTa and XLM-RoBERTa, which embed text, are settings of it.

Attention in both directions, learned positions, a norm after each addition. Left out on purpose:
dropout, the pooler (a layer over the first token that no embedder reads), heads, and a cache.
"""

import dataclasses

import jax
import jax.numpy as jnp

from jaxrl.models import decoder
from jaxrl.models.layers import layer_norm, linear
from jaxrl.models.spec import Spec, stack
from jaxrl.ops import attention
from jaxrl.parallel import mesh, rules


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of one checkpoint. Letters as in the README."""

    V: int  # vocabulary
    D: int  # model width
    L: int  # layers
    H: int  # heads
    F: int  # feed-forward width
    context: int = 512  # tokens of a text
    types: int = 2  # token types: first and second text of a pair
    first: int = 0  # row of the table of positions that the first token takes; RoBERTa's is 2
    norm_eps: float = 1e-12

    def __post_init__(self):
        if self.D % self.H:
            raise ValueError(
                f"num_attention_heads={self.H} does not divide hidden_size={self.D}: fetch the "
                "config.json again"
            )

    @property
    def N(self):
        """Head dimension."""
        return self.D // self.H


def specs(c):
    """The parameter tree as specs; layers are stacked."""
    return {
        "embed": Spec((c.V, c.D), ("vocab", "embed"), "embed"),
        "position": Spec((c.first + c.context, c.D), (None, "embed"), "embed"),
        "type": Spec((c.types, c.D), (None, "embed"), "embed"),
        **_norm_specs("norm", c),
        "layers": stack(_layer_specs(c), c.L),
    }


def _layer_specs(c):
    heads = ("heads", "head_dim")
    return {
        "q": Spec((c.D, c.H, c.N), ("embed", *heads)),
        "k": Spec((c.D, c.H, c.N), ("embed", *heads)),
        "v": Spec((c.D, c.H, c.N), ("embed", *heads)),
        "q_bias": Spec((c.H, c.N), heads, "zeros"),
        "k_bias": Spec((c.H, c.N), heads, "zeros"),
        "v_bias": Spec((c.H, c.N), heads, "zeros"),
        "o": Spec((c.H, c.N, c.D), (*heads, "embed"), fan_in=2),
        "o_bias": Spec((c.D,), ("embed",), "zeros"),
        **_norm_specs("attn_norm", c),
        "up": Spec((c.D, c.F), ("embed", "mlp")),
        "up_bias": Spec((c.F,), ("mlp",), "zeros"),
        "down": Spec((c.F, c.D), ("mlp", "embed")),
        "down_bias": Spec((c.D,), ("embed",), "zeros"),
        **_norm_specs("mlp_norm", c),
    }


def _norm_specs(name, c):
    return {
        name: Spec((c.D,), ("embed",), "ones"),
        f"{name}_bias": Spec((c.D,), ("embed",), "zeros"),
    }


def forward(params, tokens, valid, c, *, types=None, dtype=jnp.float32, remat="none"):
    """Hidden states after the last layer [B, T, D]; tokens [B, T] int32, valid [B, T] bool.

    types: [B, T] int32, all 0 if not given. dtype: of activations and products (norms and softmax
    are in f32); remat: a key of decoder.REMAT. Padding may stand anywhere: positions count valid
    tokens. What padding itself becomes is finite junk.

    Devlin et al. 2019, arXiv:1810.04805.
    """
    x_BTD = _embedded(params, tokens, valid, types, c, dtype)

    def layer(x_BTD, p):
        return block(p, x_BTD, valid, c), None

    return jax.lax.scan(decoder.REMAT[remat](layer), x_BTD, params["layers"])[0]


def _embedded(params, tokens, valid, types, c, dtype):
    """norm(word + position + type)."""
    place = jnp.clip(jnp.cumsum(valid, axis=1) - 1, 0, c.context - 1)
    table_VD = mesh.constrain(params["embed"], rules.TRAIN, "vocab", "act_embed")
    x_BTD = table_VD[tokens] + params["position"][c.first + place]
    x_BTD += params["type"][0] if types is None else params["type"][types]
    return _at_block_edge(_norm(params, "norm", x_BTD.astype(dtype), c))


def block(p, x_BTD, valid, c):
    """Attention and feed-forward, each added to the stream, which a norm then follows."""
    q, k, v = (_affine(p, name, x_BTD) for name in "qkv")
    y_BTHN = attention.bidirectional(q, k, v, valid, split=decoder.SPLIT)
    x_BTD = _norm(p, "attn_norm", x_BTD + _affine(p, "o", y_BTHN, axes=2), c)
    h_BTF = jax.nn.gelu(_affine(p, "up", x_BTD), approximate=False)
    return _at_block_edge(_norm(p, "mlp_norm", x_BTD + _affine(p, "down", h_BTF), c))


def _affine(p, name, x, axes=1):
    y = linear(x, p[name], axes)
    return y + p[f"{name}_bias"].astype(y.dtype)


def _norm(p, name, x, c):
    return layer_norm(x, p[name], p[f"{name}_bias"], c.norm_eps)


def _at_block_edge(x_BTD):
    return mesh.constrain(x_BTD, rules.TRAIN, "batch", "time", "act_embed")
