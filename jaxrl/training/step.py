"""The update: sums over micro-batches, one division, one optimizer step."""

import zlib
from functools import partial

import jax
import jax.numpy as jnp
import optax

from jaxrl.models import decoder, heads, moe
from jaxrl.ops import logprobs
from jaxrl.parallel import mesh, rules
from jaxrl.training import optimizer


def log_probs(params, rows, model, *, temperature=1.0, dtype=jnp.float32, remat="none"):
    """Log-prob and entropy of every scored token, [N, M] f32 each, and moe.Routing or None."""
    hidden_NWD, routing = decoder.forward_counted(
        params, rows.tokens, rows.position, rows.lo, rows.hi, model, dtype=dtype, remat=remat
    )
    hidden_XD, target_X = logprobs.scored(hidden_NWD, rows.tokens, rows.slot, rows.parent)
    pair = logprobs.token_logprobs(
        hidden_XD,
        decoder.head(params),
        target_X,
        temperature=temperature,
        split=rules.TRAIN["tokens"],
    )
    logp, entropy = jax.tree.map(lambda x: x.reshape(rows.slot.shape), pair)
    return logp, entropy, routing


def rewards(params, rows, model, *, dtype=jnp.float32, remat="none"):
    """A reward model's number at every scored token, in the place of `log_probs`, and zeros."""
    hidden_NWD, routing = decoder.forward_counted(
        params, rows.tokens, rows.position, rows.lo, rows.hi, model, dtype=dtype, remat=remat
    )
    hidden_NMD = jnp.take_along_axis(hidden_NWD, rows.slot[:, :, None], axis=1)
    found = heads.scalar(params["scalar"], hidden_NMD)
    return found, jnp.zeros_like(found), routing


def make_loss(objective, model, *, tokens=log_probs, **how):
    """loss_fn(params, rows) -> (summed loss, (summed stats, logp)); `how` goes to `tokens`."""

    def loss_fn(params, rows):
        logp, entropy, routing = tokens(params, rows, model, **how)
        total, stats = objective(logp, entropy, rows)
        if routing is not None:
            stats = stats | {"routing": jax.lax.stop_gradient(routing)}
        if rows.balance is not None:
            total += (rows.balance * routing.prob.sum(0)).sum()
        return total, (stats, logp)

    return loss_fn


def make_score(model, **how):
    """score(params, rows, count) -> logp: of the reference, or of the policy before it moves."""

    @jax.jit
    def score(params, rows, count):
        put = lambda i, out: out.at[i].set(log_probs(params, _take(rows, i), model, **how)[0])
        return jax.lax.fori_loop(0, count, put, jnp.zeros(rows.slot.shape, jnp.float32))

    return score


def make_sums(loss_fn):
    """sums(params, rows, count) -> (summed loss, summed stats) of a batch, without an update."""

    @jax.jit
    def sums(params, rows, count):
        def part(i):
            loss, (stats, _) = loss_fn(params, _take(rows, i))
            return loss, stats

        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(part, 0))
        add = lambda i, total: jax.tree.map(jnp.add, total, part(i))
        return jax.lax.fori_loop(0, count, add, zeros)

    return sums


def make_prepare(prepare, model, **how):
    """prepared(params, rows, count) -> what `prepare`(logp, entropy, rows) says of a whole batch.

    rows as for the train step; prepare sees all micro-batches at once, and its result [C, N, M]
    becomes rows.prepared. It costs one more forward pass.
    """

    @jax.jit
    def prepared(params, rows, count):
        def put(i, out):
            found = log_probs(params, _take(rows, i), model, **how)[:2]
            return jax.tree.map(lambda x, part: x.at[i].set(part), out, found)

        zeros = jnp.zeros(rows.slot.shape, jnp.float32)
        return prepare(*jax.lax.fori_loop(0, count, put, (zeros, zeros)), rows)

    return prepared


def make_balance(objective, model, coef, **how):
    """balance(params, rows, count) -> rows.balance [C, E] for coef · `moe.balance` of the batch.

    Which experts are chosen is counted over all micro-batches first, at the cost of one more
    forward pass: the loss is not linear in those counts, and would depend on how rows are split.
    The slope is times the loss's divisor, by which the train step divides. None if coef is 0.
    """
    if not coef:
        return None

    def balance(params, rows, count):
        def part(i):
            one = _take(rows, i)
            where = one.tokens, one.position, one.lo, one.hi
            blank = jnp.zeros(one.slot.shape, jnp.float32)  # the divisor knows no log-probs
            _, stats = objective(blank, blank, one)
            divisor = stats.get("divisor", stats["weight"])
            return divisor, decoder.forward_counted(params, *where, model, **how)[1]

        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(part, 0))
        add = lambda i, total: jax.tree.map(jnp.add, total, part(i))
        divisor, routing = jax.lax.fori_loop(0, count, add, zeros)
        slope_E = coef * jnp.maximum(divisor, 1) * moe.balance_slope(routing)
        return jnp.broadcast_to(slope_E, (len(rows.tokens), *slope_E.shape))

    return balance


def make_train_step(
    loss_fn, tx, shardings, *, join=lambda params, frozen: params, seed=0, balance=None
):
    """step(state, rows, count, frozen=None) -> (state, metrics, logp [C, N, M]).

    rows: C micro-batches, [C, N, ..] each leaf, of which the first `count` are visited. loss_fn as
    from `make_loss`; stats["weight"] divides all sums, once, unless stats["divisor"] says by what
    to divide the loss. shardings: of the state. An update with a non-finite gradient is left out
    and counted.

    frozen: what the model has beside state.params, never differentiated; join(params, frozen) is
    what loss_fn takes. seed: of the rounding of parameters in bfloat16. balance: as
    from `make_balance`, None without that loss.
    """

    def loss_of(params, frozen, rows):
        return loss_fn(join(params, frozen), rows)

    grad_fn = jax.value_and_grad(loss_of, has_aux=True)

    @partial(jax.jit, donate_argnums=0, out_shardings=(shardings, None, None))
    def step(state, rows, count, frozen=None):
        if balance:
            whole = join(state.params, frozen)
            rows = rows.replace(balance=balance(whole, rows, count))

        def add(i, carry):
            sums, logp = carry
            (loss, (stats, part)), grads = grad_fn(state.params, frozen, _take(rows, i))
            return jax.tree.map(jnp.add, sums, (loss, stats, grads)), logp.at[i].set(part)

        like = jax.eval_shape(grad_fn, state.params, frozen, _take(rows, 0))
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), like)  # sums are in f32
        (loss, (stats, _)), grads = zeros
        start = (loss, stats, grads), jnp.zeros(rows.slot.shape, jnp.float32)
        (loss, stats, grads), logp = jax.lax.fori_loop(0, count, add, start)
        routing = stats.pop("routing", None)
        state, metrics = apply(state, loss, stats, grads, tx, seed)
        metrics |= {} if routing is None else moe.metrics(routing)
        logp = mesh.constrain(logp, rules.TRAIN, None, "batch", None)  # each host reads its rows
        return state, metrics, logp

    return step


def apply(state, loss, stats, grads, tx, seed):
    """One optimizer step on sums over a batch: (state, metrics).

    stats["weight"] divides all sums, once, unless stats["divisor"] says by what to divide the loss.
    seed: of the rounding of parameters in bfloat16.
    """
    weight = stats["weight"]
    divisor = jnp.maximum(stats.get("divisor", weight), 1)
    grads = jax.tree.map(lambda g: g / divisor, grads)
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(b"rounding"))
    key = jax.random.fold_in(key, state.step)
    state, norm, finite = _apply(state, grads, weight > 0, tx, key)
    rest = {name: x for name, x in stats.items() if name not in ("weight", "divisor")}
    metrics = {name: x / jnp.maximum(weight, 1) for name, x in rest.items()}
    metrics |= {"policy/loss": loss / divisor, "optim/grad_norm": norm}
    return state, metrics | {"optim/skipped": 1 - finite.astype(jnp.float32)}


def _apply(state, grads, any_loss, tx, key):
    """The optimizer step, or none if the gradient is not finite or nothing was in the loss."""
    norm = optax.tree.norm(grads)
    finite = jnp.isfinite(norm)
    update = lambda state: optimizer.update(tx, grads, state, key)
    state = jax.lax.cond(finite & any_loss, update, lambda s: s, state)
    return state.replace(step=state.step + 1, skipped=state.skipped + ~finite), norm, finite


def _take(rows, i):
    return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, i, keepdims=False), rows)
