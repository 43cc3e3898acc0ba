"""Memory and time of the log-prob gradient, against the gradient of a full log-softmax.

    python -m launch.bench logprobs

Memory is what XLA reserves for a gradient beyond its arguments and results, compiled but not run.
The floor of the time is four products of 2·X·D·V operations: logits, the logits once more, and the
gradients of hidden states and head.
"""

import jax
import jax.numpy as jnp

from jaxrl.ops import logprobs
from launch.benches import tables

D, V = 1024, 151_936  # a Qwen3 of 0.6B
MEMORY_TOKENS = (4_096, 8_192, 16_384, 32_768)
TIMED = ((2_048, 576, 49_152), (2_048, D, V))  # tokens, width, vocabulary


def run(peer):
    """Yields the rows of the bench. The only peer is the unchunked form, which needs no package."""
    if peer not in (None, "naive"):
        raise ValueError(f"--peer={peer}: logprobs has one peer, naive; leave --peer out")
    yield from (_memory_row(tokens) for tokens in MEMORY_TOKENS)
    yield from (_time_row(*shape) for shape in TIMED)


def _ours(hidden_XD, head_VD, target_X):
    return logprobs.token_logprobs(hidden_XD, head_VD, target_X)[0].sum()


def _naive(hidden_XD, head_VD, target_X):
    logp_XV = jax.nn.log_softmax(hidden_XD @ head_VD.T)
    return jnp.take_along_axis(logp_XV, target_X[:, None], axis=1).sum()


def _gradient(loss):
    return jax.jit(jax.grad(loss, argnums=(0, 1)))


def _memory_row(tokens):
    shapes = ((tokens, D), jnp.float32), ((V, D), jnp.float32), ((tokens,), jnp.int32)
    arguments = [jax.ShapeDtypeStruct(*s) for s in shapes]
    reserved = lambda loss: (
        _gradient(loss).lower(*arguments).compile().memory_analysis().temp_size_in_bytes / 2**30
    )
    case = f"gradient memory, {tokens:,} tokens"
    return tables.Row(case, reserved(_ours), "GiB", "naive", reserved(_naive))


def _time_row(X, width, vocabulary):
    keys = jax.random.split(jax.random.key(0), 3)
    hidden_XD = jax.random.normal(keys[0], (X, width))
    head_VD = jax.random.normal(keys[1], (vocabulary, width)) * width**-0.5
    target_X = jax.random.randint(keys[2], (X,), 0, vocabulary)
    call = lambda loss: lambda: loss(hidden_XD, head_VD, target_X)
    ours, naive = tables.alternate(call(_gradient(_ours)), call(_gradient(_naive)))
    flops = tables.matmul_flops()  # beside the turns: a busy machine changes by the minute
    case = f"gradient time, {X:,} tokens, D = {width}, V = {vocabulary:,}"
    return tables.Row(case, ours, "s", "naive", naive, floor=4 * 2 * X * width * vocabulary / flops)
