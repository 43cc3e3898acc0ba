"""Log-prob and entropy of given tokens: the only path from hidden states to log-probs.

Also the only next-token shift of the library: everywhere else, index t means the same token. There
is no unchunked variant on purpose; a [tokens, vocabulary] buffer is what runs out of memory first.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec


def scored(hidden_NWD, tokens, slot, parent):
    """The scored tokens of a batch of rows and the hidden states that predict them.

    X = N · M, rows one after another; token x = n·M + m is tokens[n, slot[n, m]], predicted by
    hidden[n, parent[n, m]].

    hidden_NWD: any float.  tokens: [N, W] int32.  slot, parent: [N, M] int32.
    returns: hidden_XD, target_X int32.
    """
    hidden_NMD = jnp.take_along_axis(hidden_NWD, parent[:, :, None], axis=1)
    target_NM = jnp.take_along_axis(tokens, slot, axis=1)
    return hidden_NMD.reshape(-1, hidden_NWD.shape[-1]), target_NM.reshape(-1)


def token_logprobs(hidden_XD, head_VD, target_X, *, temperature=1.0, chunk=512, split=None):
    """Log-prob of each target token and entropy of the distribution it was drawn from.

        p = softmax(W h / τ),   logp = log p_target,   H = −Σ_v p_v log p_v

    Exact gradients of both, without a [X, V] buffer in either direction: the logits of at most
    `chunk` tokens exist at a time, and the gradient computes them again.

        ∂logp/∂z_v = 1[v = target] − p_v,   ∂H/∂z_v = −p_v (log p_v + H),   z = W h / τ

    hidden_XD, head_VD: any float; the products run in their type, all else in f32.
    target_X: int32; split: the mesh axes of X, along which each device then takes chunks of its own
    tokens and the gradients of the head meet once, not a chunk.  returns: logp_X, entropy_X, f32.
    """
    score = lambda hidden, head, target: _logprobs(hidden, head, target, temperature, chunk)
    mesh = jax.sharding.get_abstract_mesh()
    if split is None or mesh.empty or mesh.size == 1:
        return score(hidden_XD, head_VD, target_X)
    rows, places = PartitionSpec(split), {"axis_names": set(split), "check_vma": False}
    # The head crosses in f32, and so does its gradient: the devices' shares are summed in f32.
    narrow = lambda hidden, head, target: score(hidden, head.astype(head_VD.dtype), target)
    return jax.shard_map(
        narrow, in_specs=(rows, PartitionSpec(), rows), out_specs=(rows, rows), **places
    )(hidden_XD, head_VD.astype(jnp.float32), target_X)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _logprobs(hidden_XD, head_VD, target_X, temperature, chunk):
    return _forward(hidden_XD, head_VD, target_X, temperature, chunk)[0]


def _forward(hidden_XD, head_VD, target_X, temperature, chunk):
    def score(_, xs):
        hidden_CD, target_C = xs
        logits_CV = _logits(hidden_CD, head_VD, temperature)
        largest_C = logits_CV.max(axis=1)
        weight_CV = jnp.exp(logits_CV - largest_C[:, None])  # once, for both of the sums
        total_C = weight_CV.sum(axis=1)
        lse_C = largest_C + jnp.log(total_C)
        mean_C = (weight_CV * logits_CV).sum(axis=1) / total_C
        logp_C = jnp.take_along_axis(logits_CV, target_C[:, None], axis=1)[:, 0] - lse_C
        return None, (logp_C, lse_C - mean_C, lse_C)

    X = target_X.shape[0]
    outs = jax.lax.scan(score, None, _split((hidden_XD, target_X), chunk))[1]
    logp_X, entropy_X, lse_X = _join(outs, X)
    return (logp_X, entropy_X), (hidden_XD, head_VD, target_X, lse_X, entropy_X)


def _backward(temperature, chunk, saved, cotangents):
    hidden_XD, head_VD, target_X, lse_X, entropy_X = saved

    def push(d_head_VD, xs):
        hidden_CD, target_C, lse_C, entropy_C, g_C, q_C = xs
        logp_CV = _logits(hidden_CD, head_VD, temperature) - lse_C[:, None]
        pull_CV = g_C[:, None] + q_C[:, None] * (logp_CV + entropy_C[:, None])
        hit_CV = jnp.arange(head_VD.shape[0]) == target_C[:, None]
        d_CV = jnp.where(hit_CV, g_C[:, None], 0.0) - jnp.exp(logp_CV) * pull_CV
        # A barrier, or XLA's CPU compiler computes d_CV again in the order of the second product.
        d_CV = jax.lax.optimization_barrier((d_CV / temperature).astype(head_VD.dtype))
        product = partial(jnp.dot, preferred_element_type=jnp.float32)
        d_hidden_CD = product(d_CV, head_VD)
        d_head_VD += product(hidden_CD.T, d_CV).T  # d_CV row by row, as it lies
        return d_head_VD, d_hidden_CD.astype(hidden_CD.dtype)

    xs = _split((hidden_XD, target_X, lse_X, entropy_X, *cotangents), chunk)
    start = jnp.zeros(head_VD.shape, jnp.float32)
    d_head_VD, d_hidden = jax.lax.scan(push, start, xs)
    d_hidden_XD = _join(d_hidden, target_X.shape[0])
    return d_hidden_XD, d_head_VD.astype(head_VD.dtype), None


_logprobs.defvjp(_forward, _backward)


def _logits(hidden_CD, head_VD, temperature):
    product = jnp.einsum("cd,vd->cv", hidden_CD, head_VD, preferred_element_type=jnp.float32)
    return product / temperature


def _split(tree, chunk):
    """[X, ...] -> [n, C, ...], padded with zeros. Chunk i takes tokens i, i + n, …

    So the axis that a mesh may shard stays whole inside a chunk: every device works on each one.
    """
    n = lambda x: max(1, -(-x.shape[0] // chunk))
    pad = lambda x: jnp.pad(x, [(0, -x.shape[0] % n(x))] + [(0, 0)] * (x.ndim - 1))
    return jax.tree.map(lambda x: pad(x).reshape(-1, n(x), *x.shape[1:]).swapaxes(0, 1), tree)


def _join(tree, X):
    return jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:])[:X], tree)
