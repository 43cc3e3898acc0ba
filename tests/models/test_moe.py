"""Mixtures of experts: against a loop, on meshes, packed; their statistics and their balance."""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import oracles_kernels
import pytest
import tiny

from jaxrl.algos import objectives
from jaxrl.data import packing
from jaxrl.models import checkpoints, decoder, moe
from jaxrl.ops import logprobs
from jaxrl.training import step

C = tiny.EXPERTS
PARITY = Path(__file__).parents[1] / "fixtures" / "parity"
NAMES = ("router", "expert_gate", "expert_up", "expert_down")
MESH = {"tensor": 2, "fsdp": 2, "data": 2}


@pytest.fixture(scope="module")
def layer():
    """One layer's parameters and tokens [4, 5, D], some of which count."""
    rng = np.random.default_rng(1)
    params = {name: jnp.asarray(tiny.params(C)["layers"][name][0]) for name in NAMES}
    x = jnp.asarray(rng.normal(size=(4, 5, C.D)), jnp.float32)
    return params, x, jnp.asarray(rng.random((4, 5)) < 0.7)


def loop(p, x, c):
    """The oracle in float64: y of x's shape, choices and probabilities of its tokens."""
    flat = np.asarray(x, np.float64).reshape(-1, c.D)
    p = [np.asarray(p[name], np.float64) for name in NAMES]
    y, chosen, prob = oracles_kernels.experts(flat, *p, c.top_k, c.norm_top_k)
    return y.reshape(x.shape), chosen, prob


@pytest.mark.parametrize("top_k, norm", [(2, True), (2, False), (1, False), (6, True)])
def test_the_layer_equals_a_loop_over_tokens_and_experts(layer, top_k, norm):
    c = dataclasses.replace(C, top_k=top_k, norm_top_k=norm)
    p, x, _ = layer
    got, none = jax.jit(lambda p, x: moe.feed_forward(p, x, c))(p, x)
    np.testing.assert_allclose(got, loop(p, x, c)[0], atol=1e-5)
    assert none is None


def all_experts(p, x, c):
    """Every expert on every token, weighed by the router or by 0: no sorting, E times the work."""
    prob = jax.nn.softmax(x @ p["router"])
    top, chosen = jax.lax.top_k(prob, c.top_k)
    top = top / top.sum(-1, keepdims=True) if c.norm_top_k else top
    hit = chosen[..., None] == jnp.arange(c.E)
    weight = jnp.where(hit, top[..., None], 0).sum(-2)
    h = jax.nn.silu(jnp.einsum("nwd,edf->nwef", x, p["expert_gate"]))
    h = h * jnp.einsum("nwd,edf->nwef", x, p["expert_up"])
    return jnp.einsum("nwef,efd,nwe->nwd", h, p["expert_down"], weight)


def test_gradients_equal_those_of_all_experts_on_all_tokens(layer):
    """An expert that nobody chooses has an empty group, and a gradient of exactly 0."""
    p, x, _ = layer
    total = lambda f: jax.jit(jax.grad(lambda p, x: jnp.sin(f(p, x, C)).sum(), (0, 1)))
    ours, plain = total(lambda *a: moe.feed_forward(*a)[0]), total(all_experts)
    tiny.assert_close(ours(p, x), plain(p, x), 1e-5)
    first = p | {"router": jnp.zeros_like(p["router"])}  # ties go to the first
    tiny.assert_close(ours(first, x), plain(first, x), 1e-5)
    for name in NAMES[1:]:
        assert not np.asarray(ours(first, x)[0][name][C.top_k :]).any()


def test_statistics_count_the_tokens_that_count(layer):
    p, x, counted = layer
    _, routing = jax.jit(lambda *a: moe.feed_forward(*a[:2], C, a[2]))(p, x, counted)
    _, chosen, prob = loop(p, x, C)
    on = np.flatnonzero(counted)
    picks = np.bincount([e for i in on for e in chosen[i]], minlength=C.E)
    np.testing.assert_array_equal(routing.picks, picks)
    prob = np.array(prob)[on]
    np.testing.assert_allclose(routing.prob, prob.sum(0), rtol=1e-5)
    np.testing.assert_allclose(routing.entropy, -(prob * np.log(prob)).sum(), rtol=1e-5)
    assert (float(routing.tokens), float(routing.dropped)) == (len(on), 0)


def routing_of(layers):
    """Routing of (chosen, prob) by layer."""
    picks = [np.bincount(np.ravel(chosen), minlength=C.E) for chosen, _ in layers]
    prob = [np.sum(prob, 0) for _, prob in layers]
    tokens = jnp.array([len(prob) for _, prob in layers], jnp.float32)
    return moe.Routing(jnp.array(picks, jnp.float32), jnp.array(prob), tokens, tokens, 0 * tokens)


def test_balance_and_load_equal_their_definitions(layer):
    """Two layers of unequal balance, taken together as transformers does."""
    p, x, _ = layer
    layers = [loop(p, x, C)[1:], loop(p | {"router": -3 * p["router"]}, x, C)[1:]]
    routing = routing_of(layers)
    want = oracles_kernels.balance(layers, C.E)
    np.testing.assert_allclose(moe.balance(routing), want, rtol=1e-5)
    found = moe.metrics(routing)
    loads = [max(row) / (sum(row) / C.E) for row in np.asarray(routing.picks)]
    np.testing.assert_allclose(found["router/load"], np.mean(loads), rtol=1e-5)
    np.testing.assert_allclose(found["router/load_worst"], max(loads), rtol=1e-5)
    slope = jax.grad(lambda prob: moe.balance(routing._replace(prob=prob)))(routing.prob)
    for row in slope:  # what the train step multiplies the sums of each part with
        np.testing.assert_allclose(moe.balance_slope(routing), row, rtol=1e-5)


def test_even_routing_has_the_least_balance_loss():
    """k where every expert is chosen alike with the same probability."""
    even = moe.Routing(*(jnp.full((2, C.E), n) for n in (8.0, 4.0)), *(jnp.full(2, 24.0),) * 3)
    assert float(moe.balance(even)) == pytest.approx(C.top_k)
    assert float(moe.metrics(even)["router/load"]) == 1
    empty = moe.metrics(jax.tree.map(jnp.zeros_like, even))  # an update of nothing
    assert all(np.isfinite(value) for value in empty.values())


OBJECTIVE = functools.partial(objectives.OBJECTIVES["sft"], c=objectives.ObjectiveConfig("sft"))


@pytest.fixture(scope="module")
def rows():
    """Two micro-batches of four rows, the last rows of which are not in use."""
    rng = np.random.default_rng(0)
    draw = lambda *lengths: [rng.integers(1, C.V, n).astype(np.int32) for n in lengths]
    trees = [packing.branches(*draw(3), draw(*rng.integers(2, 6, 2)), (1, 1)) for _ in range(6)]
    packed, used, _ = packing.fill(trees, width=16, scored=14, rows=8)
    assert 4 < used < 8
    return packed


@pytest.fixture(scope="module")
def whole(rows):
    """Loss, and parameters after an update on loss / weight + ½ balance, written as it reads."""
    base = tiny.base(model=C)

    def loss(params):
        where = rows.tokens, rows.position, rows.lo, rows.hi
        hidden, routing = decoder.forward_counted(params, *where, C)
        picked = logprobs.scored(hidden, rows.tokens, rows.slot, rows.parent)
        logp = logprobs.token_logprobs(picked[0], decoder.head(params), picked[1])[0]
        mean = -(logp * rows.mask.reshape(-1)).sum() / rows.mask.sum()
        return mean + 0.5 * moe.balance(routing)

    @jax.jit
    def update(state):
        value, grads = jax.value_and_grad(loss)(state.params)
        updates, _ = base.tx.update(grads, state.opt, state.params)
        return value, jax.tree.map(jnp.add, state.params, updates)

    return jax.device_get(update(tiny.state(base)))


@pytest.mark.slow
def test_the_balance_loss_is_of_the_whole_batch_on_any_mesh(rows, whole):
    """Neither the split into micro-batches nor that over devices changes the update."""
    base = tiny.base(jax.devices(), MESH, model=C)
    balance = step.make_balance(OBJECTIVE, C, 0.5)
    loss_fn, places = step.make_loss(OBJECTIVE, C), base.shardings()
    update = step.make_train_step(loss_fn, base.tx, places, balance=balance)
    with jax.set_mesh(base.mesh):
        state, metrics, _ = update(tiny.state(base), *base.place_micro(rows, 8, 4))
    tiny.assert_close(jax.device_get(state.params), whole[1], 1e-5)
    np.testing.assert_allclose(metrics["policy/loss"], whole[0], rtol=1e-5)
    assert metrics["router/dropped"] == 0 and metrics["router/balance"] > C.top_k
    assert places.params["layers"]["expert_up"].spec[1] == "tensor"


@pytest.mark.peers
def test_balance_and_its_gradient_equal_transformers(tmp_path):
    """Live, with padding, every parameter below the last router."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    path = PARITY / "qwen3_moe"
    c, params = checkpoints.config(path), checkpoints.load(path)
    ids = np.random.default_rng(2).integers(0, c.V, (3, 20)).astype(np.int32)
    valid = np.arange(20) < np.array([20, 13, 7])[:, None]
    peer = transformers.AutoModelForCausalLM.from_pretrained(path, dtype="float32")
    asked = torch.asarray(ids).long(), torch.asarray(valid).long()
    loss = peer(asked[0], attention_mask=asked[1], output_router_logits=True).aux_loss
    loss.backward()

    def ours(params):
        place = jnp.broadcast_to(jnp.arange(20), ids.shape)
        flat = jnp.zeros_like(ids)
        return moe.balance(decoder.forward_counted(params, ids, place, flat, flat + valid, c)[1])

    got, grads = jax.jit(jax.value_and_grad(ours))(params)
    np.testing.assert_allclose(got, loss.item(), rtol=1e-5)
    layers = peer.model.layers
    for i in range(c.L):
        want = layers[i].mlp.gate.weight.grad.numpy().T
        np.testing.assert_allclose(grads["layers"]["router"][i], want, atol=1e-6)
    want = layers[0].mlp.experts.down_proj.grad.numpy().transpose(0, 2, 1)
    np.testing.assert_allclose(grads["layers"]["expert_down"][0], want, atol=1e-6)
    np.testing.assert_allclose(grads["embed"], peer.model.embed_tokens.weight.grad, atol=1e-6)
