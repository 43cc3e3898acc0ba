"""The update of embedders and rerankers: all vectors of a batch, the loss over them, one step.

A contrastive loss compares the rows of a whole batch, so it is no sum over micro-batches; where the
activations of a batch do not fit, its gradient is computed in two passes (grad_cache.py).
"""

from functools import partial

import jax
import jax.numpy as jnp

from jaxrl.training import grad_cache, step


def make(encode, loss, tx, shardings, *, join, seed=0, micro=None):
    """step(state, inputs, labels, target_NK, frozen=None) -> (state, metrics).

    encode(params, Sequences) -> vectors, a row each; loss(trained, {kind: vectors}, labels,
    target_NK) -> (sum, stats), trained being state.params, for what a loss has of its own. inputs:
    {kind: Sequences}; micro: {kind: rows of a micro-batch}, None = everything at once. The rest as
    of `step.make_train_step`.
    """

    @partial(jax.jit, donate_argnums=0, out_shardings=(shardings, None))
    def update(state, inputs, labels, target_NK, frozen=None):
        vectors = lambda params, read: encode(join(params, frozen), read)
        judge = lambda params, e: loss(params, e, labels, target_NK)
        if micro:
            found = grad_cache.value_and_grad(vectors, judge, state.params, inputs, micro=micro)
        else:
            whole = lambda params: judge(params, {k: vectors(params, x) for k, x in inputs.items()})
            found = jax.value_and_grad(whole, has_aux=True)(state.params)
        (total, stats), grads = found
        grads = jax.tree.map(lambda g: g.astype(jnp.float32), grads)
        return step.apply(state, total, stats, grads, tx, seed)

    return update
