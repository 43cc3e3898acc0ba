"""Flash attention over forests: splash interpreted against the xla path, and programs lowered for
accelerators that this machine need not have."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.cudnn import fused_attention_stablehlo

from jaxrl.models import decoder, spec
from jaxrl.ops import attention, attention_kernels
from jaxrl.parallel import mesh, rules

SIZES = dict(V=64, D=64, L=2, H=4, K=2, N=128, F=64)


def rows(W, seed):
    """Random trees, three levels deep, then padding; a prompt padded on the left. lo, hi [2, W]."""
    rng = np.random.default_rng(seed)
    lo, hi = np.zeros((2, W), np.int32), np.zeros((2, W), np.int32)
    hi[1, 150:] = 1
    at, leaf = 0, 0
    while at < W - 90:
        forks, leaves = rng.integers(1, 4, 2)
        nodes = [(rng.integers(5, 30), leaf, leaf + forks * leaves)]
        for first in range(leaf, leaf + forks * leaves, leaves):
            nodes += [(rng.integers(1, 9), first, first + leaves)]
            nodes += [(rng.integers(1, 6), s, s + 1) for s in range(first, first + leaves)]
        for length, *interval in nodes:
            lo[0, at : at + length], hi[0, at : at + length] = interval
            at += length
        leaf += forks * leaves
    return lo, hi


@pytest.fixture(scope="module")
def both():
    """(values, gradients) of splash and of the xla path on the same rows, and which are real."""
    W, d = 384, 64  # three blocks of 128
    lo, hi = rows(W, 0)
    real = hi > lo
    assert real[0, -128:].any() and not real[:, -1].all()
    assert not real[1, :128].any()  # a whole block of queries that see nothing
    tree = attention.Forest(jnp.asarray(lo), jnp.asarray(hi))
    keys = jax.random.split(jax.random.key(0), 4)
    heads = (4, 2, 2, 4)
    q, k, v, dy = (jax.random.normal(key, (2, W, h, d)) for key, h in zip(keys, heads, strict=True))
    dy = dy * real[:, :, None, None]  # padding has no loss

    def run(attend):
        y, pull = jax.vjp(attend, q, k, v)
        return y, pull(dy)

    mask = attention.whole_mask(tree)
    kernel = partial(attention_kernels.splash, mask_NWW=mask, interpret=True)
    assert attention_kernels.choose("cpu", q, k) == "xla"
    plain = lambda q, k, v: attention.forest(q, k, v, tree)
    return jax.jit(run, static_argnums=0)(kernel), jax.jit(run, static_argnums=0)(plain), real


def test_splash_gives_the_values_of_the_xla_path(both):
    (got, _), (want, _), real = both
    np.testing.assert_allclose(got[real], want[real], atol=1e-5)


def test_splash_of_padding_is_finite(both):
    """Queries that see no block divide 0 by 0, and NaN · 0 in the next layer reaches the loss."""
    (got, _), _, _ = both
    assert np.isfinite(got).all()


def test_splash_gives_the_gradients_of_the_xla_path(both):
    (_, got), (_, want), _ = both
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one, other, atol=5e-5)


def shape(W=512, d=128, dtype=jnp.bfloat16, heads=4, rows=2):
    return jax.ShapeDtypeStruct((rows, W, heads, d), dtype)


@pytest.mark.parametrize(
    "platform, q, want",
    [
        ("tpu", shape(), "splash"),
        ("tpu", shape(dtype=jnp.float32), "splash"),
        ("tpu", shape(d=64), "splash"),
        ("tpu", shape(W=500), "xla"),
        ("tpu", shape(W=1 << 14), "splash"),
        ("tpu", shape(W=1 << 15), "xla"),
        ("tpu", shape(d=80), "xla"),
        ("tpu", shape(d=512), "xla"),
        ("tpu", shape(dtype=jnp.float16), "xla"),
        ("gpu", shape(), "cudnn"),
        ("gpu", shape(W=500, d=80), "cudnn"),
        ("gpu", shape(dtype=jnp.float16), "cudnn"),
        ("gpu", shape(dtype=jnp.float32), "xla"),
        ("gpu", shape(W=501), "xla"),
        ("gpu", shape(W=1 << 15), "xla"),
        ("gpu", shape(d=100), "xla"),
        ("gpu", shape(d=256), "xla"),
        ("cpu", shape(), "xla"),
    ],
)
def test_choose_by_platform_shape_and_type(platform, q, want):
    assert attention_kernels.choose(platform, q, shape(heads=2), capability=(8, 0)) == want


def test_choose_by_generation_of_gpu():
    choose = lambda **how: attention_kernels.choose("gpu", shape(d=256), shape(), **how)
    assert choose(capability=(9, 0)) == "cudnn"
    assert choose(capability=(7, 5)) == choose(capability=None) == "xla"


def test_choose_by_mesh():
    """A kernel is not partitioned by the compiler: a mesh it cannot be cut along means xla."""
    choose = lambda ways: attention_kernels.choose("tpu", shape(), shape(heads=2), ways=ways)
    assert choose((2, 2)) == "splash"
    assert choose((1, 4)) == choose((4, 1)) == choose(None) == "xla"


def test_ways_reads_the_mesh_in_use():
    assert attention_kernels.ways(None) == (1, 1, 1)
    with jax.set_mesh(mesh.make(data=2, fsdp=2, tensor=2)):
        assert attention_kernels.ways(decoder.SPLIT) == (4, 2, 1)
        assert attention_kernels.ways((None, "tensor", None)) == (1, 2, 1)
        assert attention_kernels.ways(None) is None


@pytest.fixture
def pretend(monkeypatch):
    """Traces as on that platform; cuDNN's version is asked of a library that is not here."""

    def choose(platform):
        monkeypatch.setattr(jax, "default_backend", lambda: platform)
        monkeypatch.setattr(attention_kernels, "capability", lambda: (9, 0))
        monkeypatch.setattr(fused_attention_stablehlo, "check_cudnn_version", lambda: 91000)

    return choose


def gradient_program(platform, rows=2, shardings=None):
    """The text of the decoder's gradient in bf16, lowered for the platform."""
    c = decoder.Config(**SIZES)
    ints = jax.ShapeDtypeStruct((rows, 512), jnp.int32)
    params = spec.abstract(decoder.specs(c), shardings=shardings)

    def loss(params, tokens, position, lo, hi):
        hidden = decoder.forward(params, tokens, position, lo, hi, c, dtype=jnp.bfloat16)
        return hidden.astype(jnp.float32).sum()

    traced = jax.jit(jax.grad(loss)).trace(params, ints, ints, ints, ints)
    return traced.lower(lowering_platforms=(platform,)).as_text()


def test_the_decoder_lowers_for_tpu_with_splash(pretend):
    pretend("tpu")
    assert gradient_program("tpu").count("tpu_custom_call") == 3  # forward, queries, keys


def test_the_decoder_lowers_for_cuda_with_cudnn(pretend):
    pretend("gpu")
    text = gradient_program("cuda")
    assert text.count("@__cudnn$fmhaScaleBiasSoftmax(") == 1
    assert text.count("@__cudnn$fmhaScaleBiasSoftmaxBackward(") == 1


def test_the_decoder_lowers_for_a_mesh_of_tpus(pretend):
    """Outside of shard_map a kernel is refused on more than one device."""
    pretend("tpu")
    c = decoder.Config(**SIZES)
    devices = mesh.make(data=2, fsdp=2, tensor=2)
    places = rules.shardings(decoder.specs(c), devices, rules.TRAIN)
    with jax.set_mesh(devices):
        text = gradient_program("tpu", rows=4, shardings=places)
    assert text.count("tpu_custom_call") == 3
    assert "tensor<1x2x512x128xbf16>" in text  # one row and two of four heads on each device


def test_no_layer_keeps_its_own_copy_of_the_mask(pretend):
    """The backward pass needs the mask; the layers of a scan share one."""
    pretend("tpu")
    c = decoder.Config(**(SIZES | {"L": 7}))
    ints = jax.ShapeDtypeStruct((2, 512), jnp.int32)
    loss = lambda p, x: decoder.forward(p, x, x, x, x, c).sum()
    text = str(jax.make_jaxpr(jax.grad(loss))(spec.abstract(decoder.specs(c)), ints))
    assert "bool[2,512,512]" in text
    assert "bool[7," not in text
