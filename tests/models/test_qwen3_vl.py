"""Qwen3-VL: what transformers gave, however patches are packed; a picture changes its own row."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import tiny_vl

from jaxrl.data import sequences, visual_prompts
from jaxrl.models import checkpoints, decoder, embedder, lora, qwen3_vl, rotary, spec, vl_families
from jaxrl.models.layers import Quantized
from jaxrl.parallel import mesh, rules

FIXTURE = Path(__file__).parents[1] / "fixtures" / "qwen3_vl"
C = tiny_vl.MODEL
SHAPES = {"width": 128, "patches": (4, 32)}  # one compile for all
hidden = jax.jit(partial(qwen3_vl.hidden, c=C))


@pytest.fixture(scope="module")
def params():
    return checkpoints.load(FIXTURE, C)


@pytest.fixture(scope="module")
def recorded():
    return np.load(FIXTURE / "expected.npz")


@pytest.fixture(scope="module")
def seen(recorded):
    """The recorded pictures and clips."""
    visuals = tiny_vl.visuals()
    return {k: v._replace(patches=recorded[f"patches_{k}"]) for k, v in visuals.items()}


def each(names, seen, params, left=False):
    """Hidden states of each row's own tokens."""
    read = tiny_vl.batch(names, seen, **SHAPES)
    read = tiny_vl.on_the_left(read) if left else read
    rows = zip(np.asarray(hidden(params, read)), read.valid, strict=True)
    return {name: x[v] for name, (x, v) in zip(names, rows, strict=True)}


def test_hidden_states_equal_those_transformers_gave(params, recorded, seen):
    """Text, picture, clip and both, in one padded batch: positions, DeepStack, both GELUs, all."""
    got = each(tuple(tiny_vl.ROWS), seen, params)
    for name, x in got.items():
        np.testing.assert_allclose(x, recorded[name], atol=1e-4)
    last = np.stack([x[-1] for x in got.values()])
    logits = last @ np.asarray(decoder.head(params)).T
    np.testing.assert_allclose(logits, recorded["logits"], atol=1e-4)


def test_packing_and_padding_change_nothing(params, seen):
    """Rows of patches in another order, padding on the left."""
    names = tuple(tiny_vl.ROWS)
    here, there = each(names, seen, params), each(names[::-1], seen, params, left=True)
    for name in names:
        np.testing.assert_allclose(here[name], there[name], atol=1e-5)


def test_a_picture_changes_its_own_row_and_what_follows_it(params, seen):
    """Frames that share a row of patches, and rows that share a buffer of tokens, stay apart."""
    names = ("image", "clip", "text", "mixed")
    before = each(names, seen, params)
    changed = seen["tall"]._replace(patches=255 - seen["tall"].patches)  # only "mixed" has it
    after = each(names, seen | {"tall": changed}, params)
    for name in names[:3]:
        np.testing.assert_array_equal(before[name], after[name])
    start = int(tiny_vl.rendered(["mixed"])[0].visual.argmax())
    np.testing.assert_array_equal(before["mixed"][:start], after["mixed"][:start])
    assert (np.abs(before["mixed"][start:] - after["mixed"][start:]).max(-1) > 1e-4).all()


def test_text_alone_is_what_the_decoder_computes(params):
    """Bit for bit, so the text's part of a checkpoint serves sampler and learner."""
    batch = tiny_vl.batch(["text"])
    assert batch.patches is None
    plain = jax.jit(partial(embedder.causal, c=C.text))(params, batch)
    np.testing.assert_array_equal(hidden(params, batch), plain)
    room = tiny_vl.batch(["text"], **SHAPES)  # as it stands in a batch with pictures
    there = np.asarray(hidden(params, room))
    np.testing.assert_allclose(there[batch.valid], plain[batch.valid], atol=1e-5)


def test_gradients_reach_every_parameter(params, seen):
    """DeepStack's mergers and the table of positions too; with layers recomputed backward."""

    def loss(params):
        batch = tiny_vl.batch(["mixed"], seen, **SHAPES)
        x = qwen3_vl.hidden(params, batch, C, remat="block")
        weight = jnp.cos(jnp.arange(x.size)).reshape(x.shape)
        return (jnp.where(batch.valid[..., None], x, 0) * weight).sum()

    for path, g in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(loss))(params)):
        assert np.isfinite(g).all() and np.abs(g).max() > 0, jax.tree_util.keystr(path)


def test_pairs_turn_by_time_row_and_column_in_turn():
    """The published split 24/20/20: T H W twenty times, then T four times."""
    c = qwen3_vl.Config(
        text=decoder.Config(V=8, D=24, L=2, H=1, K=1, N=128, F=8, rope_theta=5e6), vision=C.vision
    )
    position = np.array([[[7]], [[30]], [[400]]])
    got = qwen3_vl.interleaved(jnp.asarray(position), c)
    taken = [0, 1, 2] * 20 + [0] * 4
    assert [taken.count(axis) for axis in range(3)] == list(c.mrope)
    angle = [position[axis, 0, 0] * 5e6 ** (-2 * i / 128) for i, axis in enumerate(taken)]
    np.testing.assert_allclose(got[0][0, 0, 0], np.cos(angle), atol=1e-4)
    np.testing.assert_allclose(got[1][0, 0, 0], np.sin(angle), atol=1e-4)
    same = jnp.broadcast_to(jnp.arange(5), (3, 1, 5))
    for x, y in zip(qwen3_vl.interleaved(same, c), rotary.angles(same[0], c.text), strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_mesh_changes_nothing(params, seen):
    """Parameters split by their specs, rows of text and of patches over the data axes."""
    places = mesh.make(data=2, fsdp=2, tensor=2)
    read = tiny_vl.batch(("text", "image", "clip", "mixed"), seen, **SHAPES)
    want = hidden(params, read)
    put = rules.shardings(qwen3_vl.specs(C), places, rules.TRAIN)
    rows = lambda x: jax.sharding.NamedSharding(places, rules.spec(rules.TRAIN, "batch"))
    there = jax.device_put(read, jax.tree.map(rows, read))
    with jax.set_mesh(places):
        got = hidden(jax.device_put(params, put), there)
    np.testing.assert_allclose(np.asarray(got)[read.valid], np.asarray(want)[read.valid], atol=1e-4)


def test_adapters_of_the_decoder_fit(params, seen):
    """LoRA on the text's layers, the tower frozen, as these embedders were trained."""
    how = lora.LoraConfig(rank=2, alpha=4.0)
    adapters = tiny.adapters(how, C)
    batch = tiny_vl.batch(["mixed"], seen, **SHAPES)
    got = hidden(lora.attached(params, adapters, how), batch)
    want = hidden(lora.merged(params, adapters, how), batch)
    plain, valid = hidden(params, batch), batch.valid
    np.testing.assert_allclose(np.asarray(got)[valid], np.asarray(want)[valid], atol=1e-4)
    assert np.abs(np.asarray(got - plain)[valid]).max() > 0.1


def test_gradients_reach_the_adapters_of_the_papers_alone(params, seen):
    """q k v gate up down; neither o nor the tower, though pictures flow through both."""
    how = lora.LoraConfig(2, 4.0, ("q", "k", "v", "gate", "up", "down"))
    adapters, batch = tiny.adapters(how, C), tiny_vl.batch(["mixed"], seen, **SHAPES)

    @jax.jit
    def grads(x, params):
        whole = lambda x: lora.attached(params, x, how)
        return jax.grad(lambda x: jnp.square(qwen3_vl.hidden(whole(x), batch, C)[0]).mean())(x)

    got = grads(adapters, params)
    assert set(got) == {"layers"} and set(got["layers"]) == set(how.targets)
    assert all(
        np.abs(x).max(axis=(1, 2)).min() > 0 for x in map(lora.columns, jax.tree.leaves(got))
    )


@pytest.mark.slow
def test_an_int8_base_keeps_its_tower_in_bfloat16(params, seen):
    held = tiny.held("int8", params, C)
    kinds = {str(x.dtype) for x in jax.tree.leaves(held["visual"])}
    assert kinds == {"float32", "bfloat16"} and isinstance(held["layers"]["up"], Quantized)
    batch = tiny_vl.batch(["mixed"], seen, **SHAPES)
    want = hidden(params, batch)
    off = np.abs(np.asarray(hidden(held, batch) - want)[batch.valid]).mean()
    off /= np.asarray(want).std()
    assert 0 < off < 0.03


@pytest.mark.parametrize("name", tiny_vl.PUBLISHED)
def test_published_sizes_can_be_traced(name):
    """Shapes alone, nothing is computed: a head of 72 and three taps fit together too."""
    c = vl_families.from_hf(tiny_vl.published(name))
    seen = [tiny_vl.visual(grid, c=c.vision) for grid in ((1, 6, 4), (3, 8, 8))]
    text = "".join(visual_prompts.mark(v) for v in seen)
    row = visual_prompts.render(tiny_vl.TOKENIZER, text, seen)
    batch = sequences.pad([row], pad_id=0, tower=c.vision, width=192)
    abstract = spec.abstract(qwen3_vl.specs(c), jnp.bfloat16)
    run = partial(qwen3_vl.hidden, c=c, dtype=jnp.bfloat16)
    got = jax.eval_shape(run, abstract, batch)
    assert (got.shape, got.dtype) == ((1, 192, c.text.D), jnp.bfloat16)
