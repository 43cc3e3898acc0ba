"""The nnx modules are the pure functions in Flax's clothes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrl.data.sequences import Sequences
from jaxrl.models import decoder, embedder, flax_bridge, heads
from jaxrl.models import spec as specs

CONFIG = decoder.Config(V=32, D=16, L=1, H=4, K=2, N=4, F=32, tied=False)
TOKENS = jnp.array([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])


def make_params(kind):
    tree = heads.reward_specs(CONFIG) if kind == "reward" else decoder.specs(CONFIG)
    params = specs.init(tree, jax.random.key(0))
    if kind == "reward":
        params["scalar"] = {"weight": jnp.linspace(-1.0, 1.0, 16), "bias": jnp.float32(0.25)}
    return params


def pure(kind, params, tokens):
    """The same model without Flax."""
    lo, position = jnp.zeros_like(tokens), jnp.arange(tokens.shape[1])[None].repeat(2, 0)
    if kind == "reward":
        return heads.reward(params, tokens, position, lo, lo + 1, CONFIG)
    hidden = decoder.forward(params, tokens, position, lo, lo + 1, CONFIG)
    return hidden @ decoder.head(params).T


@pytest.mark.parametrize("kind", ["policy", "reward"])
def test_there_and_back_is_the_same_tree_of_the_same_arrays(kind):
    params = make_params(kind)
    module = flax_bridge.to_nnx(params, CONFIG)
    assert type(module) is {"policy": flax_bridge.Policy, "reward": flax_bridge.Reward}[kind]
    back = flax_bridge.from_nnx(module)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    same = lambda x, y: x.unsafe_buffer_pointer() == y.unsafe_buffer_pointer()
    assert all(jax.tree.leaves(jax.tree.map(same, back, params)))


def test_an_embedder_there_and_back_with_what_it_reads_as_an_argument():
    params, read = make_params("policy"), Sequences(TOKENS, jnp.ones(TOKENS.shape, bool))
    c = embedder.Config(CONFIG, "mean", dim=5)
    module = flax_bridge.to_nnx(params, c)
    assert type(module) is flax_bridge.Embedder
    assert jax.tree.structure(flax_bridge.from_nnx(module)) == jax.tree.structure(params)
    got = nnx.jit(lambda m, read: m(read))(module, read)
    want = jax.jit(embedder.embed, static_argnames="c")(params, read, c=c)
    np.testing.assert_allclose(got, want, atol=1e-6)
    assert got.shape == (2, 5)


def test_split_and_merge_under_jax_jit_agree_with_the_pure_function():
    params = make_params("reward")
    graph, state = nnx.split(flax_bridge.to_nnx(params, CONFIG))
    got = jax.jit(lambda state: nnx.merge(graph, state)(TOKENS))(state)
    want = jax.jit(lambda params: pure("reward", params, TOKENS))(params)
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_nnx_jit_and_nnx_grad_agree_with_the_pure_function():
    params = make_params("policy")
    module = flax_bridge.to_nnx(params, CONFIG)
    paths = {path for path, _ in nnx.to_flat_state(nnx.state(module, nnx.Param))}
    assert ("params", "layers", "q") in paths and len(paths) == len(jax.tree.leaves(params))

    loss = lambda logits: jnp.square(logits).sum()
    got, grads = nnx.jit(nnx.value_and_grad(lambda m: loss(m(TOKENS))))(module)
    plain = jax.jit(jax.value_and_grad(lambda p: loss(pure("policy", p, TOKENS))))
    want, expected = plain(params)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    close = lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, nnx.to_pure_dict(grads)["params"], expected)


def test_an_nnx_optimizer_step_changes_what_comes_back():
    """A bridge that copied would give back the parameters of before the step."""
    params = make_params("policy")
    module = flax_bridge.to_nnx(params, CONFIG)
    nnx.update(module, jax.tree.map(lambda x: x + 1, nnx.state(module, nnx.Param)))
    back = flax_bridge.from_nnx(module)
    assert jnp.array_equal(back["layers"]["q"], params["layers"]["q"] + 1)


def test_padding_changes_nothing():
    """On the left it must also leave the positions alone."""
    module = flax_bridge.to_nnx(make_params("reward"), CONFIG)
    rows = jnp.array([[7, 7, 3, 1, 4], [3, 1, 4, 7, 7], [3, 1, 4, 5, 9]])
    valid = jnp.array([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)
    got = nnx.jit(lambda m, *x: m(*x))(module, rows, valid)
    np.testing.assert_allclose(got[0], got[1], atol=1e-5)
    assert abs(got[0] - got[2]) > 1e-3
