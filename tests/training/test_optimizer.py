"""The optimizer against a loop in numpy, and its schedule, mask and abstract state."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl.models import decoder
from jaxrl.models import spec as specs
from jaxrl.parallel import mesh as meshes
from jaxrl.parallel import rules
from jaxrl.training import optimizer
from jaxrl.training.optimizer import OptimizerConfig

MODEL = decoder.Config(V=16, D=8, L=2, H=2, K=2, N=4, F=16, qkv_bias=True, qk_norm=True)


def adamw_loop(params, grads, c, rates, decayed):
    """AdamW as Loshchilov and Hutter write it, leaf by leaf, update by update."""
    m = {k: np.zeros_like(x) for k, x in params.items()}
    v = {k: np.zeros_like(x) for k, x in params.items()}
    for t, g in enumerate(grads, start=1):
        norm = np.sqrt(sum((x**2).sum() for x in g.values()))
        shrink = min(1.0, c.clip / norm) if c.clip else 1.0
        for k in params:
            m[k] = c.b1 * m[k] + (1 - c.b1) * shrink * g[k]
            v[k] = c.b2 * v[k] + (1 - c.b2) * (shrink * g[k]) ** 2
            step = (m[k] / (1 - c.b1**t)) / (np.sqrt(v[k] / (1 - c.b2**t)) + c.eps)
            params[k] = params[k] - rates[t - 1] * (step + c.weight_decay * decayed[k] * params[k])
    return params


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_updates_match_the_loop(clip):
    rng = np.random.default_rng(0)
    draw = lambda: {"up": rng.normal(size=(3, 5)), "mlp_norm": rng.normal(size=(2, 5))}
    params, grads = draw(), [draw() for _ in range(4)]
    c = OptimizerConfig(lr=0.1, weight_decay=0.3, clip=clip, warmup=2, schedule="linear", steps=5)
    rates = [0.05, 0.1, 0.1, 0.05]  # linear: 1, 1/2, 0 over the updates 2, 3, 4
    want = adamw_loop(dict(params), grads, c, rates, {"up": 1, "mlp_norm": 0})
    tx = optimizer.build(c)

    @jax.jit
    def update(params, opt, g):
        updates, opt = tx.update(g, opt, params)
        return optax.apply_updates(params, updates), opt

    params = jax.tree.map(jnp.float32, params)
    opt = tx.init(params)
    for g in grads:
        params, opt = update(params, opt, jax.tree.map(jnp.float32, g))
    for name in want:
        np.testing.assert_allclose(params[name], want[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("schedule, end", [("constant", 1.0), ("linear", 0.1), ("cosine", 0.1)])
def test_the_schedule_grows_then_ends_at_its_final_share(schedule, end):
    c = OptimizerConfig(lr=2.0, warmup=4, schedule=schedule, steps=20, final=0.1)
    rates = np.asarray(optimizer.learning_rate(c, np.arange(25)))
    np.testing.assert_allclose(rates[:5], [0.5, 1.0, 1.5, 2.0, 2.0], rtol=1e-6)
    np.testing.assert_allclose(rates[19:], 2.0 * end, rtol=1e-6)
    assert (np.diff(rates[4:]) <= 1e-6).all()


def test_the_first_update_is_not_lost_to_a_rate_of_zero():
    assert optimizer.learning_rate(OptimizerConfig(lr=1.0, warmup=10, steps=10), 0) > 0


def test_norms_and_biases_are_not_decayed():
    """A mask by rank decays the stacked norms [L, D] and biases [L, H, N]."""
    mask = optimizer.decay_mask(specs.abstract(decoder.specs(MODEL)))
    flat = {p[-1].key: on for p, on in jax.tree_util.tree_leaves_with_path(mask)}
    kept = {name for name, on in flat.items() if not on}
    biases = {"q_bias", "k_bias", "v_bias"}
    assert kept == biases | {"q_norm", "k_norm", "attn_norm", "mlp_norm", "norm"}


def test_the_state_keeps_its_tree_whatever_the_settings():
    """A chain built without decay or clip once had another tree, and its checkpoint was refused."""
    params = {"up": jnp.ones((2, 2)), "norm": jnp.ones(2)}
    trees = [
        jax.tree_util.tree_leaves_with_path(optimizer.build(c).init(params))
        for c in (OptimizerConfig(), OptimizerConfig(clip=0.0, weight_decay=0.1, warmup=1))
    ]
    paths = [[jax.tree_util.keystr(path) for path, _ in tree] for tree in trees]
    assert paths[0] == paths[1]


def test_the_abstract_state_is_what_jit_creates_in_place():
    mesh = meshes.make(data=2, fsdp=2, tensor=2)
    tree = decoder.specs(MODEL)
    params = specs.abstract(tree, shardings=rules.shardings(tree, mesh, rules.TRAIN))
    tx = optimizer.build(OptimizerConfig())
    want = optimizer.abstract_state(tx, params)
    places = jax.tree.map(lambda x: x.sharding, want)
    create = functools.partial(jax.jit, out_shardings=places)
    zeros = lambda: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), params)
    state = create(lambda: optimizer.init_state(tx, zeros()))()
    same = lambda x, y: (x.shape, x.dtype, x.sharding) == (y.shape, y.dtype, y.sharding)
    assert all(jax.tree.leaves(jax.tree.map(same, state, want)))
    assert state.opt[1].mu["layers"]["q"].sharding == params["layers"]["q"].sharding


def test_parameters_in_bf16_follow_those_in_f32_on_average():
    """A step is a 32nd of the distance to the next bf16: to the nearest, none would count."""
    tx = optax.sgd(2.0**-13)
    start = {"up": jnp.ones((64, 64), jnp.bfloat16)}
    state, grads = optimizer.init_state(tx, start), {"up": jnp.ones((64, 64))}
    key, update = jax.random.key(0), jax.jit(functools.partial(optimizer.update, tx))
    for i in range(100):
        state = update(grads, state, jax.random.fold_in(key, i))
    got = np.asarray(state.params["up"], np.float64)
    assert state.params["up"].dtype == jnp.bfloat16
    walk = np.sqrt(100 * 2.0**-13 * 2.0**-8 / 4096)  # variance of a step: at most step · distance
    assert abs(got.mean() - (1 - 100 * 2.0**-13)) < 5 * walk


def test_leaves_in_bf16_round_by_draws_of_their_own_and_moments_stay_f32():
    """One draw for all would move every matrix the same way."""
    tx = optimizer.build(OptimizerConfig(lr=1e-3))
    start = dict.fromkeys(("up", "down"), jnp.ones((32, 32), jnp.bfloat16))
    state, grads = optimizer.init_state(tx, start), dict.fromkeys(start, jnp.ones((32, 32)))
    assert {x.dtype.name for x in jax.tree.leaves(state.opt[1].mu)} == {"float32"}
    assert {x.dtype.name for x in jax.tree.leaves(state.opt[1].nu)} == {"float32"}
    one, same, other = (
        optimizer.update(tx, grads, state, jax.random.key(k)).params for k in (0, 0, 1)
    )
    assert (one["up"] != one["down"]).any() and (one["up"] != other["up"]).any()
    jax.tree.map(np.testing.assert_array_equal, one, same)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"schedule": "cosin"}, "optimizer.schedule='cosin'.*constant, linear, cosine"),
        ({"lr": -1.0}, "optimizer.lr=-1.0"),
        ({"b2": 1.0}, "optimizer.b2=1.0"),
        ({"warmup": 9, "steps": 3}, "optimizer.warmup=9.*optimizer.steps=3"),
        ({"eps": 0.0}, "optimizer.eps=0.0"),
        ({"steps": 0}, "optimizer.steps=0"),
    ],
)
def test_unusable_settings_are_refused(settings, words):
    with pytest.raises((KeyError, ValueError), match=words):
        OptimizerConfig(**settings)
