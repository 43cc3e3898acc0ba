"""Contrastive batches larger than memory: a loss over all embeddings, an encoder a part at a time.

A loss with in-batch negatives does not split into micro-batches, but it sees the encoder only
through the embeddings, which are small. So: all embeddings first, without anything kept for a
backward pass; then the loss and its gradient at each embedding; then the encoder again, a
micro-batch at a time, which takes that gradient on to the parameters.
"""

import jax
import jax.numpy as jnp


def value_and_grad(encode, loss, params, inputs, *, micro):
    """The loss of a whole batch and its gradient, with the activations of one micro-batch.

        u = ∂L/∂e over the whole batch,   ∂L/∂θ = (∂L/∂θ at fixed e) + Σ_micro (∂e/∂θ)ᵀ u

    Gao et al. 2021, arXiv:2101.06983, section 3. Exact, at the price of a second forward pass. An
    encoder that draws (dropout) has its keys among the inputs, and so draws the same twice.

    encode(params, part) -> embeddings, a tree of [rows, ..]; part: rows of one of the inputs.
    loss(params, {kind: embeddings}) -> (sum, stats); params for what the loss has of its own, such
    as the step of a quantisation.
    inputs: {kind: tree of [rows, ..]}, such as query and document, each with lengths of its own;
    micro: {kind: rows of a micro-batch}, a divisor of its rows.
    returns: ((sum, stats), gradient), as `jax.value_and_grad` with aux; the gradient in f32.
    """
    _check(inputs, micro)
    parts = {kind: _split(tree, micro[kind]) for kind, tree in inputs.items()}
    alone = lambda part: encode(params, part)
    embeddings = {kind: _join(jax.lax.map(alone, tree)) for kind, tree in parts.items()}
    both = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    value, (grads, pulls) = both(params, embeddings)

    def add(grads, part_pull):
        part, pull = part_pull
        (found,) = jax.vjp(lambda params: encode(params, part), params)[1](pull)
        return jax.tree.map(jnp.add, grads, found), None

    grads = jax.tree.map(lambda g: g.astype(jnp.float32), grads)  # sums are in f32
    for kind, tree in parts.items():
        grads, _ = jax.lax.scan(add, grads, (tree, _split(pulls[kind], micro[kind])))
    return value, grads


def _check(inputs, micro):
    if inputs.keys() != micro.keys():
        raise KeyError(f"micro has {sorted(micro)}: give one number for each of {sorted(inputs)}")
    for kind, tree in inputs.items():
        sizes = {len(x) for x in jax.tree.leaves(tree)}
        if len(sizes) != 1:
            raise ValueError(
                f"inputs[{kind!r}] has leaves of {sorted(sizes)} rows: make them equal"
            )
        if micro[kind] < 1 or sizes.pop() % micro[kind]:
            rows = len(jax.tree.leaves(tree)[0])
            raise ValueError(f"micro[{kind!r}]={micro[kind]}: give a divisor of its {rows} rows")


def _split(tree, micro):
    """[rows, ..] -> [rows / micro, micro, ..]; each part takes rows from all over the batch, which
    therefore stay on the device they are on."""
    return jax.tree.map(lambda x: x.reshape(micro, -1, *x.shape[1:]).swapaxes(0, 1), tree)


def _join(tree):
    """The inverse of `_split`."""
    return jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:]), tree)
