"""The decoder as a function of forests: causal, blind across trees, the same however packed."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxrl.models import decoder, spec
from jaxrl.models.layers import rms_norm

UNTIED = dataclasses.replace(tiny.MODEL, tied=False)  # the embedding's gradient is the input's
QWEN = dataclasses.replace(UNTIED, qkv_bias=True, qk_norm=True)
# One tree: (parent, tokens) of each node, depth first. Two and three levels.
TWO = [(None, [1, 2, 3]), (0, [4, 5]), (0, [6]), (0, [7, 8, 9])]
THREE = [(None, [11, 12]), (0, [13, 14]), (1, [15, 16]), (1, [17]), (0, [18, 19, 20])]


def row_of(trees, width):
    """Trees -> one row (tokens, position, lo, hi), [1, width] each; leaves are numbered."""
    out = {name: np.zeros((1, width), np.int32) for name in ("tokens", "position", "lo", "hi")}
    column = leaf = 0
    for tree in trees:
        depth = {}
        for i, (parent, tokens) in enumerate(tree):
            first = leaf_number(tree, i) + leaf
            start = 0 if parent is None else depth[parent]
            depth[i] = start + len(tokens)
            span = (0, slice(column, column + len(tokens)))
            out["tokens"][span], out["position"][span] = tokens, np.arange(start, depth[i])
            out["lo"][span], out["hi"][span] = first, first + leaves_below(tree, i)
            column += len(tokens)
        leaf += leaves_below(tree, 0)
    return out


def children(tree, i):
    return [j for j, (parent, _) in enumerate(tree) if parent == i]


def leaves_below(tree, i):
    return sum(leaves_below(tree, j) for j in children(tree, i)) or 1


def leaf_number(tree, i):
    return sum(not children(tree, j) for j in range(i))


def paths(tree):
    """Every leaf's tokens from the root on."""
    walk = lambda i: [] if i is None else walk(tree[i][0]) + tree[i][1]
    return [walk(i) for i in range(len(tree)) if not children(tree, i)]


def plain(tokens, width):
    """One sequence as a row of its own."""
    return row_of([[(None, list(tokens))]], width)


@jax.jit
def hidden(params, row):
    return decoder.forward(params, *(row[k] for k in ("tokens", "position", "lo", "hi")), UNTIED)


@pytest.fixture(scope="module")
def params():
    return tiny.params(UNTIED)


@pytest.mark.parametrize("trees", [[TWO], [THREE], [THREE, TWO, [(None, [21, 22, 23])]]])
def test_each_node_of_a_forest_has_the_hidden_state_of_its_own_path(params, trees):
    """Values here; the gradients of whole packed batches are in tests/training/test_step.py."""
    packed = row_of(trees, 24)
    states = hidden(params, packed)[0]
    checked = 0
    for tree in trees:
        for path in paths(tree):
            alone = hidden(params, plain(path, 24))[0]
            for position, token in enumerate(path):
                column = list(packed["tokens"][0]).index(token)  # tokens are all different
                np.testing.assert_allclose(states[column], alone[position], atol=2e-5)
                checked += 1
    assert checked >= sum(len(tokens) for tree in trees for _, tokens in tree)


@pytest.mark.parametrize("trees", [[TWO], [THREE, TWO]])
def test_gradients_of_a_row_are_the_sum_of_its_paths(params, trees):
    """A shared prompt counts once a response; a three-level tree counts its inner node per leaf."""
    weight = lambda token, axis: jnp.cos(token * 1.7 + jnp.arange(axis))
    row = row_of(trees, 24)
    scale = row["hi"] - row["lo"]  # leaves below a token's node

    def of_row(params):
        terms = weight(row["tokens"][..., None], UNTIED.D) * scale[..., None]
        return (hidden(params, row) * terms).sum()

    def of_paths(params):
        """Every path is a row of its own."""
        rows = [plain(path, 24) for tree in trees for path in paths(tree)]
        batch = {k: np.concatenate([row[k] for row in rows]) for k in rows[0]}
        terms = weight(batch["tokens"][..., None], UNTIED.D) * batch["hi"][..., None]
        return (hidden(params, batch) * terms).sum()

    got, want = (jax.jit(jax.grad(f))(params) for f in (of_row, of_paths))
    got.pop("head"), want.pop("head")
    tiny.assert_close(got, want, 1e-5)


def test_no_gradient_crosses_from_one_group_to_another(params):
    """The embedding of every token outside the loss's own path gets exactly zero."""
    packed = row_of([TWO, THREE], 24)

    def loss(params, column):
        return jnp.square(hidden(params, packed)[0, column]).sum()

    grad = jax.jit(jax.grad(loss))
    for column in (4, 8, 13, 18):
        own = next(
            path[: path.index(token) + 1]
            for tree in (TWO, THREE)
            for path in paths(tree)
            if (token := int(packed["tokens"][0, column])) in path
        )
        touched = np.abs(grad(params, column)["embed"]).sum(1) > 0
        np.testing.assert_array_equal(np.flatnonzero(touched), sorted(own))


def test_causality(params):
    """The loss at one position has no gradient from any later token, and some from all earlier."""
    row = plain(range(1, 13), 12)
    grad = jax.jit(jax.grad(lambda p, i: jnp.square(hidden(p, row)[0, i]).sum()))
    for i in (0, 5, 11):
        touched = np.abs(grad(params, i)["embed"]).sum(1) > 0
        np.testing.assert_array_equal(np.flatnonzero(touched), np.arange(1, i + 2))


def test_padding_changes_nothing(params):
    """On either side: the tokens' own positions and intervals decide, not their columns."""
    row = plain(range(1, 8), 7)
    want = hidden(params, row)[0]
    left = {k: np.pad(x, ((0, 0), (5, 0))) for k, x in row.items()}
    right = {k: np.pad(x, ((0, 0), (0, 5))) for k, x in row.items()}
    for padded, span in ((left, slice(5, None)), (right, slice(0, 7))):
        padded["tokens"][padded["hi"] == 0] = 99  # junk under the padding
        np.testing.assert_allclose(hidden(params, padded)[0, span], want, atol=1e-5)


@pytest.mark.parametrize(
    "c, hows", [(UNTIED, ("dots", "block", "offload")), (tiny.EXPERTS, ("block",))]
)
def test_remat_changes_no_gradient(c, hows):
    params, row = tiny.params(c), plain(range(1, 8), 8)
    arrays = [row[k] for k in ("tokens", "position", "lo", "hi")]

    @partial(jax.jit, static_argnums=1)
    def grad(params, how):
        loss = lambda p: jnp.square(decoder.forward(p, *arrays, c, remat=how)).sum()
        return jax.grad(loss)(params)

    for how in hows:
        tiny.assert_close(grad(params, how), grad(params, "none"), 1e-6)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_offload_sends_what_enters_a_layer_to_the_host_and_back(platform):
    """Read from the program for that platform: a CPU has no other memory to send it to."""
    abstract = spec.abstract(decoder.specs(UNTIED))
    rows = [jax.ShapeDtypeStruct((1, 8), jnp.int32)] * 4
    loss = lambda p, *a: decoder.forward(p, *a, UNTIED, remat="offload").sum()
    program = jax.export.export(jax.jit(jax.grad(loss)), platforms=[platform])(abstract, *rows)
    lines = program.mlir_module().splitlines()
    moved = lambda to: [x for x in lines if f'_xla_buffer_placement = "{to}"' in x]
    there, back = moved("pinned_host"), moved("device")
    assert len(there) == len(back) == 1
    assert f"-> tensor<1x8x{UNTIED.D}xf32>" in there[0]


@pytest.mark.parametrize("c", [QWEN, tiny.EXPERTS], ids=["dense", "experts"])
def test_bf16_activations_stay_near_f32(c):
    """Every switch on; finite gradients in the parameters' own f32."""
    params, row = tiny.params(c), plain(range(1, 8), 8)
    arrays = [row[k] for k in ("tokens", "position", "lo", "hi")]
    run = lambda p, dtype: decoder.forward(p, *arrays, c, dtype=dtype).astype(jnp.float32)
    loss = lambda p: jnp.square(run(p, jnp.bfloat16)).sum()
    got, grads = jax.jit(jax.value_and_grad(loss))(params)
    exact = jnp.square(jax.jit(run, static_argnums=1)(params, jnp.float32)).sum()
    assert abs(float(got) / float(exact) - 1) < 0.05
    assert all(x.dtype == jnp.float32 and np.isfinite(x).all() for x in jax.tree.leaves(grads))


@pytest.mark.parametrize("c", [UNTIED, QWEN, tiny.EXPERTS])
def test_a_step_computes_what_the_learner_computes(c):
    """The sampler holds its matrices turned, its layers apart. A first token sees only itself."""
    params = tiny.params(c)
    own = lambda q, k, v, cache: (jnp.repeat(v, c.H // c.K, axis=2), cache)
    token_B, nowhere = jnp.arange(1, 6), jnp.zeros(5, int)
    x_BD, kept = decoder.step(
        decoder.columns(params, c, len(token_B)), token_B, nowhere, own, range(c.L), c
    )
    assert kept == list(range(c.L))
    alone = [x[:, None] for x in (token_B, nowhere, nowhere, nowhere + 1)]
    want = decoder.forward(params, *alone, c)
    got = rms_norm(x_BD, params["norm"], c.norm_eps)
    np.testing.assert_allclose(got, want[:, 0], atol=1e-5)
