"""Flash kernels for attention over forests: splash on a TPU, cuDNN on a GPU, and which to take.

Both get the mask as an array [N, W, W] of bytes, so that any tree is exact; splash leaves out the
blocks of it that are empty. Written without an accelerator at hand: splash ran in Pallas' interpret
mode against the xla path (values and gradients) and was lowered for TPU; cuDNN was lowered for CUDA
and never ran. Neither was timed, and the block sizes are our choice.
"""

import math

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as tpu
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask_info as mask_info
from jax.sharding import PartitionSpec

LANES = 128  # a row of splash is a multiple of this
BLOCKS = (512, 256, LANES)
WIDEST = 16_384  # of a row: its mask takes W² bytes; wider ones are attended block by block


def choose(platform, q, k, *, capability=None, ways=(1, 1, 1)):
    """The path that these shapes take: "splash", "cudnn" or "xla".

    platform: as jax.default_backend() says. q: [N, W, H, d], k: [N, W, K, d], arrays or their
    shapes and dtypes. capability, ways: as the functions below return them.
    """
    _, W, _, d = q.shape
    if W > WIDEST or ways is None or q.shape[0] % ways[0] or k.shape[2] % ways[1]:
        return "xla"
    if platform == "tpu" and q.dtype in (jnp.bfloat16, jnp.float32):
        return "splash" if W % LANES == 0 and d % 64 == 0 and d <= 256 else "xla"
    if platform == "gpu" and q.dtype in (jnp.bfloat16, jnp.float16) and capability is not None:
        widest = 256 if capability >= (9, 0) else 128
        fits = capability >= (8, 0) and W % 2 == 0 and d % 8 == 0 and d <= widest
        return "cudnn" if fits else "xla"
    return "xla"


def capability():
    """(major, minor) of the first CUDA device, or None where there is none."""
    if jax.default_backend() != "gpu":
        return None
    numbers = str(jax.devices()[0].compute_capability).split(".")
    return tuple(map(int, numbers)) if all(n.isdigit() for n in numbers) else None  # ROCm: a name


def ways(split):
    """Over how many devices the mesh in use splits (rows, heads, columns); None: nobody said.

    split: the mesh axes of each, a name, a tuple of names or None; None = unsaid.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return 1, 1, 1
    names = lambda axes: () if axes is None else (axes,) if isinstance(axes, str) else axes
    return split and tuple(math.prod(mesh.shape[n] for n in names(axes)) for axes in split)


def on_each_device(attend, split):
    """attend(q, k, v, lo, hi) on each device's own rows and heads: kernels do not partition."""
    if jax.sharding.get_abstract_mesh().size <= 1:
        return attend
    rows, heads, _ = split  # columns are whole here
    four, two = PartitionSpec(rows, None, heads, None), PartitionSpec(rows, None)
    places = {"in_specs": (four, four, four, two, two), "out_specs": four}
    return jax.shard_map(attend, check_vma=False, **places)  # a kernel's output states no axes


def splash(q_NWHd, k_NWKd, v_NWKd, mask_NWW, *, interpret=False):
    """softmax(q·kᵀ / √d + mask)·v block by block (arXiv:2205.14135), rows one after another.

    q: [N, W, H, d]; k, v: [N, W, K, d], f32 or bf16; mask: [N, W, W] bool, in which every query
    sees some key: one that sees none divides 0 by 0.  returns: q's shape and dtype.
    """
    sizes = _block_sizes(q_NWHd.shape[1])

    def row(x):
        q, k, v, mask = x
        return _splash_kernel(mask, sizes, interpret)(q, k, v)

    q_NWHd = q_NWHd * q_NWHd.shape[-1] ** -0.5
    heads_first = [x.swapaxes(1, 2) for x in (q_NWHd, k_NWKd, v_NWKd)]
    return jax.lax.map(row, (*heads_first, mask_NWW)).swapaxes(1, 2)


def _splash_kernel(mask, sizes, interpret):
    """Built by hand: make_splash_mha turns `is_dynamic_mask` into an array, then branches on it."""
    block = sizes.block_q, sizes.block_kv
    forward, _ = mask_info.process_dynamic_mask(mask[None], block)  # one mask for all heads
    backward, _ = mask_info.process_dynamic_mask_dkv(mask[None], block)
    return tpu.SplashAttentionKernel(
        forward,
        forward,
        backward,
        is_mqa=False,
        block_sizes=sizes,
        save_residuals=False,
        mask_value=tpu.DEFAULT_MASK_VALUE,
        attn_logits_soft_cap=None,
        residual_checkpoint_name=None,
        mask_function=None,
        interpret=interpret,
    )


def _block_sizes(W):
    b = next(size for size in BLOCKS if W % size == 0)
    passes = ("q", "kv", "q_dkv", "kv_dkv", "q_dq", "kv_dq")
    return tpu.BlockSizes(**{f"block_{name}": b for name in passes})


def cudnn(q_NWHd, k_NWKd, v_NWKd, mask_NWW):
    """softmax(q·kᵀ / √d + mask)·v by cuDNN's flash attention, the mask as a bias of 0 or −2⁴¹.

    q: [N, W, H, d]; k, v: [N, W, K, d], bf16 or f16; mask: [N, W, W] bool.  returns: q's shape.
    """
    mask = mask_NWW[:, None]
    return jax.nn.dot_product_attention(q_NWHd, k_NWKd, v_NWKd, mask=mask, implementation="cudnn")


KERNELS = {"splash": splash, "cudnn": cudnn}
