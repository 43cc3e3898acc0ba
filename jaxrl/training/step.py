"""The update: sums over micro-batches, one division, one optimizer step."""

from functools import partial

import jax
import jax.numpy as jnp
import optax

from jaxrl.models import decoder
from jaxrl.ops import logprobs


def log_probs(params, rows, model, *, temperature=1.0, dtype=jnp.float32, remat="none"):
    """Log-prob and entropy of every scored token, [N, M] f32 each."""
    hidden_NWD = decoder.forward(
        params, rows.tokens, rows.position, rows.lo, rows.hi, model, dtype=dtype, remat=remat
    )
    hidden_XD, target_X = logprobs.scored(hidden_NWD, rows.tokens, rows.slot, rows.parent)
    pair = logprobs.token_logprobs(
        hidden_XD, decoder.head(params), target_X, temperature=temperature
    )
    return jax.tree.map(lambda x: x.reshape(rows.slot.shape), pair)


def make_loss(objective, model, **how):
    """loss_fn(params, rows) -> (summed loss, (summed stats, logp)); `how` goes to `log_probs`."""

    def loss_fn(params, rows):
        logp, entropy = log_probs(params, rows, model, **how)
        total, stats = objective(logp, entropy, rows)
        return total, (stats, logp)

    return loss_fn


def make_score(model, **how):
    """score(params, rows, count) -> logp: of the reference, or of the policy before it moves."""

    @jax.jit
    def score(params, rows, count):
        put = lambda i, out: out.at[i].set(log_probs(params, _take(rows, i), model, **how)[0])
        return jax.lax.fori_loop(0, count, put, jnp.zeros(rows.slot.shape, jnp.float32))

    return score


def make_train_step(loss_fn, tx, shardings):
    """step(state, rows, count) -> (state, metrics, logp [C, N, M]).

    rows: C micro-batches, [C, N, ..] each leaf, of which the first `count` are visited. loss_fn as
    from `make_loss`; stats["weight"] divides all sums, once. shardings: of the state. An update
    with a non-finite gradient is left out and counted.
    """
    grad_fn = jax.value_and_grad(loss_fn, has_aux=True)

    @partial(jax.jit, donate_argnums=0, out_shardings=(shardings, None, None))
    def step(state, rows, count):
        def add(i, carry):
            sums, logp = carry
            (loss, (stats, part)), grads = grad_fn(state.params, _take(rows, i))
            return jax.tree.map(jnp.add, sums, (loss, stats, grads)), logp.at[i].set(part)

        like = jax.eval_shape(grad_fn, state.params, _take(rows, 0))
        (loss, (stats, _)), grads = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)
        start = (loss, stats, grads), jnp.zeros(rows.slot.shape, jnp.float32)
        (loss, stats, grads), logp = jax.lax.fori_loop(0, count, add, start)
        state, norm, finite = _apply(state, grads, stats["weight"], tx)
        weight = jnp.maximum(stats["weight"], 1)
        metrics = {name: x / weight for name, x in stats.items() if name != "weight"}
        metrics |= {"policy/loss": loss / weight, "optim/grad_norm": norm}
        return state, metrics | {"optim/skipped": 1 - finite.astype(jnp.float32)}, logp

    return step


def _apply(state, grads, weight, tx):
    """The optimizer step, or none if the gradient is not finite or nothing was in the loss."""
    grads = jax.tree.map(lambda g: g / jnp.maximum(weight, 1), grads)
    norm = optax.tree.norm(grads)
    finite = jnp.isfinite(norm)

    def update(state):
        updates, opt = tx.update(grads, state.opt, state.params)
        return state.replace(params=optax.apply_updates(state.params, updates), opt=opt)

    state = jax.lax.cond(finite & (weight > 0), update, lambda s: s, state)
    return state.replace(step=state.step + 1, skipped=state.skipped + ~finite), norm, finite


def _take(rows, i):
    return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, i, keepdims=False), rows)
