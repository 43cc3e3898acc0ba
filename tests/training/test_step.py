"""The update: what packing, splitting and broken gradients may not change."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from jax.extend.core import jaxprs_in_params

from jaxrl.algos import objectives
from jaxrl.data import packing
from jaxrl.models import lora
from jaxrl.records import Rows
from jaxrl.training import optimizer, step
from jaxrl.training.clock import Clock

SETTINGS = objectives.ObjectiveConfig(kl_coef=0.1, entropy_coef=0.01)
OBJECTIVE = functools.partial(objectives.OBJECTIVES["ppo_clip"], c=SETTINGS)
LOSS = step.make_loss(OBJECTIVE, tiny.MODEL, temperature=0.7)
BASE = tiny.base()


def per_token(traj):
    rng = np.random.default_rng(0)
    draw = lambda: rng.normal(size=traj.tokens.shape).astype(np.float32)
    near = np.where(traj.valid, -5.5 + 0.1 * draw(), 0).astype(np.float32)
    return {"mask": traj.mask.astype(np.float32), "adv": draw(), "old_logp": near, "ref_logp": near}


def alone(traj):
    """Every sample as a group of its own, with a copy of its prompt."""
    g = traj.group
    prompt = {"prompt_tokens": traj.prompt_tokens[g], "prompt_valid": traj.prompt_valid[g]}
    return dataclasses.replace(traj, **prompt, group=np.arange(len(g)), task=traj.task[g])


def one_a_row(traj, values, width, scored):
    """Rows that hold one group each."""
    pack = functools.partial(packing.pack, width=width, scored=scored, rows=1)
    parts = [pack(traj, values, groups=[g])[0] for g in range(len(traj.task))]
    return jax.tree.map(lambda *x: np.concatenate(x), *parts)


@pytest.fixture(scope="module")
def rows():
    """Two micro-batches of two rows, the last of which is not in use."""
    traj = tiny.trajectory(0, P=5, G=3)
    packed, used, _ = packing.pack(
        traj, per_token(traj), groups=np.arange(5), width=30, scored=25, rows=4
    )
    assert used == 3
    return jax.tree.map(lambda x: jnp.asarray(x.reshape(2, 2, -1)), packed)


@pytest.fixture(scope="module")
def update():
    return step.make_train_step(LOSS, BASE.tx, BASE.shardings())


def test_gradients_of_packed_rows_equal_those_of_sequences_in_rows_of_their_own():
    """Shared prompts, several groups in a row: every parameter, with all terms of the loss."""
    traj = tiny.trajectory(0, P=5, G=3)
    values = per_token(traj)
    packed, used, _ = packing.pack(traj, values, groups=np.arange(5), width=64, scored=45, rows=2)
    plain = one_a_row(alone(traj), values, width=12, scored=5)
    assert used == 2 and len(plain.tokens) == 15
    grad = jax.jit(jax.value_and_grad(LOSS, has_aux=True))
    (loss, (stats, _)), grads = grad(tiny.params(), packed)
    (want_loss, (want_stats, _)), want = grad(tiny.params(), plain)
    tiny.assert_close(grads, want, 1e-5)
    tiny.assert_close({"loss": loss} | stats, {"loss": want_loss} | want_stats, 1e-5)
    assert want_stats["weight"] == traj.mask.sum()


def test_a_group_that_no_row_holds_is_cut_and_learns_the_same():
    traj = tiny.trajectory(0, P=5, G=3)
    how = {"traj": traj, "per_token": per_token(traj), "groups": np.arange(5), "rows": 15}
    grad = jax.jit(jax.value_and_grad(LOSS, has_aux=True))
    (_, (want, _)), grads = grad(tiny.params(), packing.pack(**how, width=64, scored=45)[0])
    rows, used, where = packing.pack(**how, width=20, scored=9)
    (_, (got, _)), cut = grad(tiny.params(), rows)
    tiny.assert_close(cut, grads, 1e-5)
    tiny.assert_close(got, want, 1e-5)
    assert used > 5 and ((where >= 0) == traj.mask).all()


@pytest.mark.parametrize("model", [tiny.MODEL, tiny.EXPERTS], ids=["dense", "experts"])
def test_groups_that_share_a_row_do_not_leak(model):
    """The gradient of a group's loss is exactly 0 in another's tokens; its log-probs stay.

    Every column has a token of its own, so that the embedding's gradient is that of the columns'
    inputs; the head is another matrix.
    """
    model = dataclasses.replace(model, tied=False)
    traj = tiny.trajectory(0, P=4, G=3)
    sizes = {"groups": np.arange(4), "width": 64, "scored": 64, "rows": 1}
    rows, _, _ = packing.pack(traj, per_token(traj), **sizes)
    columns, scored = np.arange(64)[None], rows.mask > 0
    rows = rows.replace(tokens=columns.astype(np.int32))
    loss_fn = step.make_loss(OBJECTIVE, model, temperature=0.7)
    grad = jax.jit(jax.value_and_grad(loss_fn, has_aux=True))
    params, size = tiny.params(model), rows.hi > rows.lo
    for group in range(4):
        own = scored & (rows.group == group)
        tree = np.isin(rows.lo, rows.lo[0, np.r_[rows.slot[own], rows.parent[own]]]) & size
        (_, (_, logp)), grads = grad(params, rows.replace(mask=np.float32(own)))
        touched = np.abs(grads["embed"]).sum(1)[:64] > 0
        np.testing.assert_array_equal(touched & ~tree[0], False)
        assert touched[rows.parent[own]].all()
        others = rows.replace(tokens=np.where(tree, columns, 263 - columns).astype(np.int32))
        (_, (_, moved)), _ = grad(params, others.replace(mask=np.float32(own)))
        np.testing.assert_allclose(moved[own], logp[own], atol=1e-6)


def test_the_number_of_rows_in_use_compiles_nothing_new(update, rows):
    """A compile an update would take longer than the update."""
    state, _, _ = update(tiny.state(BASE), rows, 1)
    clock = Clock()
    for count in (2, 0, 2):
        state, metrics, _ = update(state, rows, count)
    clock.close()
    assert clock.read()["compile/count"] == 0
    assert int(state.step) == 4 and int(state.skipped) == 0
    assert np.isfinite(metrics["policy/loss"])


def test_micro_batches_that_are_not_visited_change_nothing(update, rows):
    """Rows of an earlier, longer batch may still lie there."""
    junk = jax.tree.map(lambda x: x.at[1].set(7), rows)
    for count, other, same in ((1, junk, True), (2, junk, False)):
        got, _, logp = update(tiny.state(BASE), other, count)
        want, _, _ = update(tiny.state(BASE), rows, count)
        equal = jax.tree.map(lambda x, y: bool((x == y).all()), got.params, want.params)
        assert all(jax.tree.leaves(equal)) == same
        assert bool((logp[1] == 0).all()) == same


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_update_with_a_broken_gradient_is_left_out_and_counted(update, rows, bad):
    """Parameters and moments stay bit for bit; the next sound batch learns as ever."""
    state, _, _ = update(tiny.state(BASE), rows, 2)
    before = jax.device_get(state)
    broken = rows.replace(adv=rows.adv.at[0, 0, 0].set(bad))
    state, metrics, _ = update(state, broken, 2)
    assert metrics["optim/skipped"] == 1 and not np.isfinite(metrics["optim/grad_norm"])
    assert (int(state.skipped), int(state.step)) == (1, 2)
    kept = jax.device_get(state).replace(step=before.step, skipped=before.skipped)
    jax.tree.map(np.testing.assert_array_equal, kept, before)
    state, metrics, _ = update(state, rows, 2)
    assert metrics["optim/skipped"] == 0 and int(state.skipped) == 1
    moved = jax.tree.map(lambda x, y: bool((x != y).any()), before.params, state.params)
    assert all(jax.tree.leaves(moved))


def test_an_empty_batch_moves_nothing(update, rows):
    """All groups dropped: a zero gradient would still decay the moments and the weights."""
    state, _, _ = update(tiny.state(BASE), rows, 2)
    before = jax.device_get(state)
    state, metrics, _ = update(state, rows, 0)
    jax.tree.map(np.testing.assert_array_equal, state.params, before.params)
    jax.tree.map(np.testing.assert_array_equal, state.opt, before.opt)
    assert (int(state.step), metrics["optim/skipped"], metrics["policy/loss"]) == (2, 0, 0)


def test_metrics_are_means_over_the_whole_batch(update, rows):
    """One division: the mean of micro-batch means would weigh a short one like a long one."""
    parts = [LOSS(tiny.params(), jax.tree.map(lambda x: x[i], rows)) for i in range(2)]
    weight = sum(stats["weight"] for _, (stats, _) in parts)
    assert parts[0][1][0]["weight"] != parts[1][1][0]["weight"]
    _, metrics, logp = update(tiny.state(BASE), rows, 2)
    np.testing.assert_allclose(metrics["policy/loss"], sum(x for x, _ in parts) / weight, rtol=1e-4)
    for name in ("policy/entropy", "policy/ref_kl", "policy/clip_fraction"):
        want = sum(stats[name] for _, (stats, _) in parts) / weight
        np.testing.assert_allclose(metrics[name], want, rtol=1e-4)
    for i, (_, (_, want)) in enumerate(parts):
        on = rows.mask[i] > 0
        np.testing.assert_allclose(logp[i][on], want[on], atol=1e-4)


def test_score_gives_the_same_log_probs_as_the_update(update, rows):
    score = step.make_score(tiny.MODEL, temperature=0.7)
    _, _, want = update(tiny.state(BASE), rows, 2)
    got = score(tiny.params(), rows, 2)
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert score(tiny.params(), rows, 1)[1].any() == 0


def test_the_size_of_micro_batches_changes_no_update(update, rows):
    """Sums first, one division last: rows of very different weight may stand alone."""
    found = []
    for micro in (1, 2, 4):
        split = jax.tree.map(lambda x: x.reshape(-1, micro, x.shape[-1]), rows)
        state, metrics, _ = update(tiny.state(BASE), split, -(-3 // micro))
        found.append((state.params, metrics))
    for params, metrics in found[1:]:
        tiny.assert_close(params, found[0][0], 1e-6)
        tiny.assert_close(metrics, found[0][1], 1e-5)


def at(rows, i):
    return jax.tree.map(lambda x: x[i], rows)


def test_the_base_is_an_argument_that_nothing_moves(update, rows):
    """As a constant of the program, another base would not be seen; donated, it would be gone.

    Nor is its gradient computed: that would be a third of the products, and a copy of it.
    """
    c = lora.LoraConfig(2, 4.0, ("q",))
    small, base = tiny.base(c=c), jax.device_put(tiny.params())
    made = step.make_train_step(LOSS, small.tx, small.shardings(), join=small.join)
    made = made.lower(tiny.state(small), rows, 2, base).compile()
    state, _, logp = made(tiny.state(small), rows, 2, base)
    jax.tree.map(np.testing.assert_array_equal, base, tiny.params())
    assert jax.tree.structure(state.params) == jax.tree.structure(tiny.adapters(c))
    moved = made(tiny.state(small), rows, 2, base | {"norm": base["norm"] * 2})[2]
    assert np.abs(logp - moved).max() > 1e-3
    full = update.lower(tiny.state(BASE), rows, 2).compile()
    flops = lambda program: program.cost_analysis()["flops"]
    assert flops(made) < 0.8 * flops(full)


def test_the_maths_of_the_loss_is_f32_whatever_the_model(rows):
    """bf16 parameters and activations: exponentials, logarithms, roots and sums are not in bf16."""
    loss = step.make_loss(OBJECTIVE, tiny.MODEL, dtype=jnp.bfloat16)
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), tiny.params())
    program = jax.make_jaxpr(jax.grad(loss, has_aux=True))(params, at(rows, 0))
    watched = {"exp", "log", "log1p", "rsqrt", "sqrt", "reduce_sum", "reduce_max", "cumsum", "div"}
    found = list(equations(program.jaxpr))
    assert {"exp", "log", "rsqrt", "reduce_sum"} <= {e.primitive.name for e in found}
    half = {
        e.primitive.name
        for e in found
        for x in e.invars
        if e.primitive.name in watched and x.aval.dtype == jnp.bfloat16
    }
    assert half == set()


def equations(jaxpr):
    """All of a program, those inside loops and calls too."""
    for e in jaxpr.eqns:
        yield e
        for inner in jaxprs_in_params(e.params):
            yield from equations(inner)


def test_sums_over_micro_batches_are_f32_for_parameters_in_bf16():
    """256 + 1 is 256 in bf16: 300 micro-batches of equal gradients would stop there."""

    def loss_fn(params, rows):
        total = rows.mask.sum()
        return params["w"].astype(jnp.float32) * total, ({"weight": total}, rows.mask)

    ones = jax.tree.map(lambda x: jnp.ones((300, 1, 1), x.dtype), Rows(*[jnp.zeros(1)] * 14))
    state = optimizer.init_state(optax.sgd(1.0), {"w": jnp.zeros((), jnp.bfloat16)})
    _, metrics, _ = step.make_train_step(loss_fn, optax.sgd(1.0), None)(state, ones, 300)
    assert metrics["optim/grad_norm"] == 1  # the mean of 300 ones


def test_a_loss_may_have_a_divisor_of_its_own(rows):
    """token_sum: 0 counts as 1 for the loss, while statistics stay averages."""

    def loss_fn(params, rows):
        total = rows.mask.sum()
        stats = {"weight": total, "divisor": jnp.zeros(()), "policy/entropy": 3 * total}
        return params["w"] * total, (stats, rows.mask)

    state = optimizer.init_state(optax.sgd(1.0), {"w": jnp.zeros(())})
    state, metrics, _ = step.make_train_step(loss_fn, optax.sgd(1.0), None)(state, rows, 2)
    assert state.params["w"] == -rows.mask.sum() and metrics["policy/entropy"] == 3
