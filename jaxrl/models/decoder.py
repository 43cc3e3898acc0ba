"""The one decoder: Llama, SmolLM2, Qwen2, Qwen2.5, Qwen3 and Qwen3-MoE are settings of it.

Learner, prefill and decoding run the same `block`; they differ in the `attend` they pass, which
sees a layer's rotated queries, keys and values. Experts are in moe.py, vision lives elsewhere.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from jaxrl.models import moe, rotary
from jaxrl.models.layers import linear, rms_norm
from jaxrl.models.spec import Spec, stack
from jaxrl.ops import attention
from jaxrl.parallel import mesh, rules

SPLIT = tuple(rules.TRAIN[x] for x in ("batch", "heads", "time"))  # of attention, under a mesh


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes and switches of one checkpoint. Letters as in the README."""

    V: int  # vocabulary
    D: int  # model width
    L: int  # layers
    H: int  # query heads
    K: int  # key and value heads
    N: int  # head dimension
    F: int  # feed-forward width, with experts that of one
    E: int = 0  # experts a layer; 0 = dense
    top_k: int = 0  # experts a token
    norm_top_k: bool = True  # whose weights then add up to 1
    rope_theta: float = 10000.0
    rope_scaling: tuple[tuple[str, object], ...] | None = (
        None  # sorted items of the checkpoint's dict
    )
    norm_eps: float = 1e-5
    tied: bool = True  # the head is the embedding
    headless: bool = False  # untied, and without a head: embeds, gives no logits
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
    if c.headless:
        return tree | {"head": None}
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
    }
    tree |= moe.specs(c) if c.E else _mlp_specs(c)
    if c.qkv_bias:
        tree["q_bias"] = Spec((c.H, c.N), heads, "zeros")
        tree["k_bias"] = Spec((c.K, c.N), kv, "zeros")
        tree["v_bias"] = Spec((c.K, c.N), kv, "zeros")
    if c.qk_norm:
        tree["q_norm"] = Spec((c.N,), ("head_dim",), "ones")
        tree["k_norm"] = Spec((c.N,), ("head_dim",), "ones")
    return tree


def _mlp_specs(c):
    return {
        "gate": Spec((c.D, c.F), ("embed", "mlp")),
        "up": Spec((c.D, c.F), ("embed", "mlp")),
        "down": Spec((c.F, c.D), ("mlp", "embed")),
    }


def forward(params, tokens, position, lo, hi, c, **how):
    """Hidden states after the last norm [N, W, D] of forest rows; all arguments [N, W] int32.

    how: dtype, of activations and products (norms, softmax and rotation are in f32), and remat.
    """
    return _forward(params, tokens, position, lo, hi, c, counted=None, **how)[0]


def forward_counted(params, tokens, position, lo, hi, c, **how):
    """As `forward`, and what the routers chose for the tokens that are no padding: moe.Routing.

    Each token of a forest counts once, as it is computed once. Without experts: None.
    """
    counted = lo < hi if c.E else None
    return _forward(params, tokens, position, lo, hi, c, counted=counted, **how)


def _forward(params, tokens, position, lo, hi, c, *, counted, **how):
    forest = attention.Forest(lo, hi)
    attend = lambda q, k, v, _: (attention.forest(q, k, v, forest, split=SPLIT), None)
    how |= {"counted": counted}
    x, _, routing = blocks(params, tokens, position, attend, None, c, **how)
    return rms_norm(x, params["norm"], c.norm_eps), routing


def blocks(
    params, tokens, position, attend, cache, c, *, dtype=jnp.float32, remat="none", counted=None
):
    """All layers without the last norm. attend(q, k, v, a layer's cache) -> (y, what to keep).

    returns: x, what was kept, and moe.Routing of the tokens `counted` [N, W] bool, or None.
    """
    # Whole rows of the table, or looking them up gathers the batch in their place.
    table_VD = mesh.constrain(params["embed"], rules.TRAIN, "vocab", "act_embed")
    x_BTD = _at_block_edge(table_VD[tokens].astype(dtype))
    angles = rotary.angles(position, c)

    def layer(x_BTD, p_cache):
        x_BTD = checkpoint_name(x_BTD, STREAM)
        return block(p_cache[0], x_BTD, angles, attend, p_cache[1], c, counted)

    x_BTD, (kept, routing) = jax.lax.scan(REMAT[remat](layer), x_BTD, (params["layers"], cache))
    return x_BTD, kept, routing


def block(p, x_BTD, angles, attend, cache, c, counted=None):
    """Attention and feed-forward, each behind a norm and added to the stream."""
    h_BTD = rms_norm(x_BTD, p["attn_norm"], c.norm_eps)
    q, k, v = _finish(p, *(linear(h_BTD, p[name]) for name in "qkv"), angles, c)
    y_BTHN, kept = attend(q, k, v, cache)
    x_BTD = x_BTD + linear(y_BTHN, p["o"], axes=2)
    h_BTD = rms_norm(x_BTD, p["mlp_norm"], c.norm_eps)
    if c.E:
        y_BTD, routing = moe.feed_forward(p, h_BTD, c, counted)
        return _at_block_edge(x_BTD + y_BTD), (kept, routing)
    h_BTF = jax.nn.silu(linear(h_BTD, p["gate"])) * linear(h_BTD, p["up"])
    return _at_block_edge(x_BTD + linear(h_BTF, p["down"])), (kept, None)


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
    matrix = params.get("head", params["embed"])
    if matrix is None:
        raise ValueError(
            "the model has no output head (lm_head.weight): it is an embedder; use a checkpoint of "
            "a language model where logits are needed"
        )
    return matrix


def columns(params, c, rows):
    """The parameters as `step` reads them: a list of layers, each matrix turned to [out, in].

    What reads the same input is one matrix: of each kv head the queries that share it, its key and
    its value; of each feed-forward unit its gate and its up. Experts stay as they are. One row's
    products are as fast either way, so for it the turning is only in the shapes.
    """
    layers = [_joined({name: x[i] for name, x in params["layers"].items()}, c) for i in range(c.L)]
    turn = lambda p: p | {name: p[name].T for name in JOINED if name in p}
    # A barrier, or the compiler moves slicing and turning into the loop that decodes.
    if rows == 1:
        return params | {"layers": list(map(turn, jax.lax.optimization_barrier(layers)))}
    return params | {"layers": jax.lax.optimization_barrier(list(map(turn, layers)))}


def _joined(p, c):
    """One layer with the matrices JOINED, [in, out], in the place of those they are made of."""
    rest = {name: x for name, x in p.items() if name not in MATRICES}
    q = p["q"].reshape(c.D, c.K, -1, c.N)
    qkv = jnp.concatenate([q, p["k"][:, :, None], p["v"][:, :, None]], 2)
    rest |= {"qkv": qkv.reshape(c.D, -1), "o": p["o"].reshape(-1, c.D)}
    if c.E:
        return rest
    gate_up = jnp.stack([p["gate"], p["up"]], 2)
    return rest | {"gate_up": gate_up.reshape(c.D, -1), "down": p["down"]}


def step(params, token_B, position_B, attend, cache, c):
    """One token a row through all layers; params as from `columns`, a cache a layer.

    The arithmetic of `block` with a column a row: products whose large side, the weights, is read
    as it lies are a quarter faster on a CPU at 64 rows. Unrolled, since a scan would copy weights.

    returns: hidden states before the last norm [B, D], the list of what `attend` kept.
    """
    B = len(token_B)
    norm = lambda x_DB, scale: rms_norm(x_DB.T, scale, c.norm_eps).T
    # A barrier, or a product and what turns it become one loop on a CPU, six times as slow.
    product = lambda w, x_DB: jax.lax.optimization_barrier(w @ x_DB)
    angles = rotary.angles(position_B[:, None], c)
    x_DB, kept = params["embed"][token_B].T, []
    for p, one in zip(params["layers"], cache, strict=True):
        qkv = product(p["qkv"], norm(x_DB, p["attn_norm"])).T.reshape(B, 1, c.K, -1, c.N)
        q, k, v = qkv[..., :-2, :].reshape(B, 1, c.H, c.N), qkv[..., -2, :], qkv[..., -1, :]
        y_BTHN, keep = attend(*_finish(p, q, k, v, angles, c), one)
        x_DB = x_DB + p["o"] @ y_BTHN.reshape(B, -1).T
        h_DB = norm(x_DB, p["mlp_norm"])
        if c.E:
            x_DB = x_DB + moe.feed_forward(p, h_DB.T, c)[0].T
        else:
            gate_up = product(p["gate_up"], h_DB).reshape(c.F, 2, B)
            x_DB = x_DB + p["down"] @ (jax.nn.silu(gate_up[:, 0]) * gate_up[:, 1])
        x_DB = mesh.constrain(x_DB, rules.TRAIN, "act_embed", "batch")
        kept.append(keep)
    return x_DB.T, kept


MATRICES = ("q", "k", "v", "o", "gate", "up", "down")
JOINED = ("qkv", "o", "gate_up", "down")
STREAM = "stream"  # what enters a layer
_OFFLOAD = jax.checkpoint_policies.save_and_offload_only_these_names(
    names_which_can_be_saved=[],
    names_which_can_be_offloaded=[STREAM],
    offload_src="device",
    offload_dst="pinned_host",
)
REMAT = {  # what the forward pass keeps of a layer for the backward pass, which computes the rest
    "none": lambda f: f,  # everything
    "dots": lambda f: jax.checkpoint(f, policy=jax.checkpoint_policies.dots_saveable),
    "block": jax.checkpoint,  # what enters it
    "offload": lambda f: jax.checkpoint(f, policy=_OFFLOAD),  # the same, in the host's memory
}
