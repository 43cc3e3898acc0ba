"""The one decoder: Llama, SmolLM2, Qwen2, Qwen2.5 and Qwen3 (dense) are settings of it.

Learner, prefill and decoding run the same `block`; they differ in the `attend` they pass, which
sees a layer's rotated queries, keys and values. Mixtures of experts and vision live elsewhere.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from jaxrl.models import rotary
from jaxrl.models.layers import linear, rms_norm
from jaxrl.models.spec import Spec, stack
from jaxrl.ops import attention
from jaxrl.parallel import mesh, rules

SPLIT = rules.TRAIN["batch"], rules.TRAIN["heads"]  # of attention, for kernels under a mesh


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes and switches of one checkpoint. Letters as in the README."""

    V: int  # vocabulary
    D: int  # model width
    L: int  # layers
    H: int  # query heads
    K: int  # key and value heads
    N: int  # head dimension
    F: int  # feed-forward width
    rope_theta: float = 10000.0
    rope_scaling: tuple[tuple[str, object], ...] | None = (
        None  # sorted items of the checkpoint's dict
    )
    norm_eps: float = 1e-5
    tied: bool = True  # the head is the embedding
    qkv_bias: bool = False  # Qwen2
    qk_norm: bool = False  # Qwen3
    context: int = 8192  # positions the checkpoint was made for


def specs(c):
    """The parameter tree as specs; layers are stacked."""
    tree = {
        "embed": Spec((c.V, c.D), ("vocab", "embed"), "embed"),
        "layers": stack(_layer_specs(c), c.L),
        "norm": Spec((c.D,), ("embed",), "ones"),
    }
    return tree if c.tied else tree | {"head": Spec((c.V, c.D), ("vocab", "embed"), "embed")}


def _layer_specs(c):
    heads, kv = ("heads", "head_dim"), ("kv_heads", "head_dim")
    tree = {
        "attn_norm": Spec((c.D,), ("embed",), "ones"),
        "q": Spec((c.D, c.H, c.N), ("embed", *heads)),
        "k": Spec((c.D, c.K, c.N), ("embed", *kv)),
        "v": Spec((c.D, c.K, c.N), ("embed", *kv)),
        "o": Spec((c.H, c.N, c.D), (*heads, "embed"), fan_in=2),
        "mlp_norm": Spec((c.D,), ("embed",), "ones"),
        "gate": Spec((c.D, c.F), ("embed", "mlp")),
        "up": Spec((c.D, c.F), ("embed", "mlp")),
        "down": Spec((c.F, c.D), ("mlp", "embed")),
    }
    if c.qkv_bias:
        tree["q_bias"] = Spec((c.H, c.N), heads, "zeros")
        tree["k_bias"] = Spec((c.K, c.N), kv, "zeros")
        tree["v_bias"] = Spec((c.K, c.N), kv, "zeros")
    if c.qk_norm:
        tree["q_norm"] = Spec((c.N,), ("head_dim",), "ones")
        tree["k_norm"] = Spec((c.N,), ("head_dim",), "ones")
    return tree


def forward(params, tokens, position, lo, hi, c, *, dtype=jnp.float32, remat="none"):
    """Hidden states after the last norm [N, W, D] of forest rows; all arguments [N, W] int32.

    Activations and products are of `dtype`; norms, softmax and rotation are in f32.
    """
    forest = attention.Forest(lo, hi)
    attend = lambda q, k, v, _: (attention.forest(q, k, v, forest, split=SPLIT), None)
    x, _ = blocks(params, tokens, position, attend, None, c, dtype=dtype, remat=remat)
    return rms_norm(x, params["norm"], c.norm_eps)


def blocks(params, tokens, position, attend, cache, c, *, dtype=jnp.float32, remat="none"):
    """All layers without the last norm. attend(q, k, v, a layer's cache) -> (y, what to keep)."""
    x_BTD = _at_block_edge(params["embed"][tokens].astype(dtype))
    angles = rotary.angles(position, c)
    layer = lambda x, p_cache: block(p_cache[0], x, angles, attend, p_cache[1], c)
    return jax.lax.scan(REMAT[remat](layer), x_BTD, (params["layers"], cache))


def block(p, x_BTD, angles, attend, cache, c):
    """Attention and gated feed-forward, each behind a norm and added to the stream."""
    h_BTD = rms_norm(x_BTD, p["attn_norm"], c.norm_eps)
    q, k, v = _finish(p, *(linear(h_BTD, p[name]) for name in "qkv"), angles, c)
    y_BTHN, kept = attend(q, k, v, cache)
    x_BTD = x_BTD + linear(y_BTHN, p["o"], axes=2)
    h_BTD = rms_norm(x_BTD, p["mlp_norm"], c.norm_eps)
    h_BTF = jax.nn.silu(linear(h_BTD, p["gate"])) * linear(h_BTD, p["up"])
    return _at_block_edge(x_BTD + linear(h_BTF, p["down"])), kept


def _at_block_edge(x_BTD):
    return mesh.constrain(x_BTD, rules.TRAIN, "batch", "time", "act_embed")


def _finish(p, q, k, v, angles, c):
    """Biases, norms and rotation of queries and keys."""
    if c.qkv_bias:
        add = lambda x, name: x + p[name].astype(x.dtype)
        q, k, v = add(q, "q_bias"), add(k, "k_bias"), add(v, "v_bias")
    if c.qk_norm:
        q = rms_norm(q, p["q_norm"], c.norm_eps)
        k = rms_norm(k, p["k_norm"], c.norm_eps)
    return rotary.rotate(q, *angles), rotary.rotate(k, *angles), v


def head(params):
    """The output matrix [V, D]."""
    return params.get("head", params["embed"])


def columns(params, c, rows):
    """The parameters as `step` reads them: a list of layers, each matrix turned to [out, in].

    One row's products are as fast either way, so for it the turning is only in the shapes.
    """
    flat = lambda name, x: x.reshape(math.prod(x.shape[: FAN_IN[name]]), -1)
    pick = lambda name, x: flat(name, x) if name in FAN_IN else x
    turn = lambda p: {name: x.T if name in FAN_IN else x for name, x in p.items()}
    layers = [{name: pick(name, x[i]) for name, x in params["layers"].items()} for i in range(c.L)]
    # A barrier, or the compiler moves slicing and turning into the loop that decodes.
    if rows == 1:
        return params | {"layers": list(map(turn, jax.lax.optimization_barrier(layers)))}
    return params | {"layers": jax.lax.optimization_barrier(list(map(turn, layers)))}


def step(params, token_B, position_B, attend, cache, c):
    """One token a row through all layers; params as from `columns`, a cache a layer.

    The arithmetic of `block` with a column a row: products whose large side, the weights, is read
    as it lies are a quarter faster on a CPU at 64 rows. Unrolled, since a scan would copy weights.

    returns: hidden states before the last norm [B, D], the list of what `attend` kept.
    """
    norm = lambda x_DB, scale: rms_norm(x_DB.T, scale, c.norm_eps).T
    heads = lambda x: x.T.reshape(len(token_B), 1, -1, c.N)
    angles = rotary.angles(position_B[:, None], c)
    x_DB, kept = params["embed"][token_B].T, []
    for p, one in zip(params["layers"], cache, strict=True):
        h_DB = norm(x_DB, p["attn_norm"])
        # A barrier, or products and turning become one loop on a CPU, six times as slow.
        qkv = jax.lax.optimization_barrier([p[name] @ h_DB for name in "qkv"])
        q, k, v = _finish(p, *map(heads, qkv), angles, c)
        y_BTHN, keep = attend(q, k, v, one)
        x_DB = x_DB + p["o"] @ y_BTHN.reshape(len(token_B), -1).T
        h_DB = norm(x_DB, p["mlp_norm"])
        x_DB = x_DB + p["down"] @ (jax.nn.silu(p["gate"] @ h_DB) * (p["up"] @ h_DB))
        x_DB = mesh.constrain(x_DB, rules.TRAIN, "act_embed", "batch")
        kept.append(keep)
    return x_DB.T, kept


FAN_IN = {"q": 1, "k": 1, "v": 1, "o": 2, "gate": 1, "up": 1, "down": 1}  # input axes
REMAT = {
    "none": lambda f: f,
    "dots": lambda f: jax.checkpoint(f, policy=jax.checkpoint_policies.dots_saveable),
    "block": jax.checkpoint,
}
