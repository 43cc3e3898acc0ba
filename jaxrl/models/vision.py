"""The vision tower of Qwen3-VL (arXiv:2511.21631): patches of images and clips to visual tokens.

Everything has a fixed shape: frames lie packed in rows of patches, each patch with the number of
its frame (data/visual_rows.py builds the rows). What depends on a frame's size, positions and the
corners to interpolate between, is computed on the host. The names of stored tensors are in
vl_families.py.

Left out on purpose: a key-value cache, dropout, and Conv3d: a patch is a vector, its embedding one
product.
"""

import dataclasses

import jax
import jax.numpy as jnp

from jaxrl.models import rotary
from jaxrl.models.layers import layer_norm, linear
from jaxrl.models.spec import Spec, stack
from jaxrl.ops import segment_attention


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of one tower. D, L, H, F as of the decoder, but the tower's own."""

    D: int
    L: int
    H: int
    F: int
    out: int  # width of a visual token: the decoder's D
    taps: tuple[int, ...]  # layers after which DeepStack reads the stream
    side: int = 48  # of the square table of learned positions
    patch: int = 16  # pixels
    frames: int = 2  # in a patch, one after the other
    merge: int = 2  # patches a side that become one visual token
    channels: int = 3
    rope_theta: float = 10000.0
    norm_eps: float = 1e-6

    def __post_init__(self):
        if list(self.taps) != sorted(set(self.taps)) or not set(self.taps) <= set(range(self.L)):
            raise ValueError(
                f"deepstack_visual_indexes={list(self.taps)}: give rising layer numbers below "
                f"depth={self.L}"
            )
        if self.D % self.H or self.D // self.H % 4:
            raise ValueError(
                f"num_heads={self.H}: hidden_size={self.D} must be a multiple of 4 · num_heads, "
                "as rows and columns each rotate half of a head's pairs"
            )


def specs(c):
    """The parameter tree; layers are stacked, and so are the mergers of DeepStack."""
    pixels = (c.channels, c.frames, c.patch, c.patch)
    return {
        "patch": Spec((*pixels, c.D), (None, None, None, None, "embed"), fan_in=4),
        "patch_bias": Spec((c.D,), ("embed",), "zeros"),
        "position": Spec((c.side**2, c.D), (None, "embed"), "embed"),
        "layers": stack(_layer_specs(c), c.L),
        "merger": _merger_specs(c, c.D),
        "deepstack": stack(_merger_specs(c, c.merge**2 * c.D), len(c.taps)),
    }


def _layer_specs(c):
    N = c.D // c.H
    heads = ("heads", "head_dim")
    return {
        "attn_norm": Spec((c.D,), ("embed",), "ones"),
        "attn_norm_bias": Spec((c.D,), ("embed",), "zeros"),
        "qkv": Spec((c.D, 3, c.H, N), ("embed", None, *heads)),
        "qkv_bias": Spec((3, c.H, N), (None, *heads), "zeros"),
        "o": Spec((c.H, N, c.D), (*heads, "embed"), fan_in=2),
        "o_bias": Spec((c.D,), ("embed",), "zeros"),
        "mlp_norm": Spec((c.D,), ("embed",), "ones"),
        "mlp_norm_bias": Spec((c.D,), ("embed",), "zeros"),
        "up": Spec((c.D, c.F), ("embed", "mlp")),
        "up_bias": Spec((c.F,), ("mlp",), "zeros"),
        "down": Spec((c.F, c.D), ("mlp", "embed")),
        "down_bias": Spec((c.D,), ("embed",), "zeros"),
    }


def _merger_specs(c, normed):
    wide = c.merge**2 * c.D
    return {
        "norm": Spec((normed,), (None,), "ones"),
        "norm_bias": Spec((normed,), (None,), "zeros"),
        "up": Spec((wide, wide), ("embed", "mlp")),
        "up_bias": Spec((wide,), ("mlp",), "zeros"),
        "down": Spec((wide, c.out), ("mlp", "embed")),
        "down_bias": Spec((c.out,), ("embed",), "zeros"),
    }


def forward(params, rows, c, *, dtype=jnp.float32, remat=lambda f: f):
    """Visual tokens [1 + len(c.taps), N, W / merge², out]: the tower's own, then DeepStack's.

    rows: visual_rows.Patches of N rows with W patches. Padding gives finite junk. dtype: of
    activations and products (norms, softmax and rotation are in f32); remat: wraps a layer.
    """
    angles = _angles(rows.place, c)
    block = remat(lambda x_NWD, p: _block(p, x_NWD, angles, rows.frame, c))
    slot_L = jnp.asarray([c.taps.index(l) if l in c.taps else len(c.taps) for l in range(c.L)])

    def layer(carry, p_slot):
        p, slot = p_slot
        x_NWD = block(carry[0], p)
        return (x_NWD, carry[1].at[slot].set(x_NWD, mode="drop")), None

    x_NWD = _embedded(params, rows, c, dtype)
    deep = jnp.zeros((len(c.taps), *x_NWD.shape), dtype)  # beside the layers: not kept for each
    (x_NWD, deep), _ = jax.lax.scan(layer, (x_NWD, deep), (params["layers"], slot_L))
    deep = jax.lax.map(lambda p_x: _merged(*p_x, c, norm_first=False), (params["deepstack"], deep))
    return jnp.concatenate([_merged(params["merger"], x_NWD, c, norm_first=True)[None], deep])


def _embedded(params, rows, c, dtype):
    """Patches as vectors, plus the table of positions read between its four nearest entries."""
    x = ((rows.pixels.astype(jnp.float32) - 127.5) / 127.5).astype(dtype)  # 0 .. 255 -> −1 .. 1
    x = x.reshape(*x.shape[:2], c.channels, c.frames, c.patch, c.patch)
    x_NWD = _affine(x, params, "patch", axes=4)
    near = lambda i: params["position"][rows.corner[..., i]] * rows.weight[..., i, None]
    position_NWD = sum(near(i) for i in range(4))  # one at a time: four copies would be the peak
    return x_NWD + position_NWD.astype(dtype)


def _angles(place_NW2, c):
    """cos and sin [N, W, 1, d/2]: the first half of the pairs turns by row, the other by column.

    θ_k = θ^(−4k/d), k = 0 … d/4 − 1, of the patch's place in its frame at full resolution.
    """
    d = c.D // c.H
    inverse = c.rope_theta ** (-jnp.arange(0, d // 2, 2, dtype=jnp.float32) / (d // 2))
    angle = place_NW2.astype(jnp.float32)[..., None] * inverse
    angle = angle.reshape(*place_NW2.shape[:2], 1, d // 2)
    return jnp.cos(angle), jnp.sin(angle)


def _block(p, x_NWD, angles, frame_NW, c):
    """Attention inside a frame and feed-forward, each behind a norm and added to the stream."""
    h_NWD = layer_norm(x_NWD, p["attn_norm"], p["attn_norm_bias"], c.norm_eps)
    q, k, v = jnp.moveaxis(_affine(h_NWD, p, "qkv"), 2, 0)
    q, k = rotary.rotate(q, *angles), rotary.rotate(k, *angles)
    y_NWHd = segment_attention.segments(q, k, v, frame_NW)
    x_NWD = x_NWD + _affine(y_NWHd, p, "o", axes=2)
    h_NWD = layer_norm(x_NWD, p["mlp_norm"], p["mlp_norm_bias"], c.norm_eps)
    h_NWF = jax.nn.gelu(_affine(h_NWD, p, "up"), approximate=True)
    return x_NWD + _affine(h_NWF, p, "down")


def _merged(p, x_NWD, c, *, norm_first):
    """merge² neighbouring patches -> one visual token; DeepStack's mergers norm them together."""
    norm = lambda x: layer_norm(x, p["norm"], p["norm_bias"], c.norm_eps)
    x = norm(x_NWD) if norm_first else x_NWD
    x = x.reshape(x.shape[0], -1, c.merge**2 * c.D)
    x = x if norm_first else norm(x)
    x = jax.nn.gelu(_affine(x, p, "up"), approximate=False)  # exact here, tanh in the blocks
    return _affine(x, p, "down")


def _affine(x, p, name, axes=1):
    y = linear(x, p[name], axes)
    return y + p[name + "_bias"].astype(y.dtype)
