"""Memory and time of the update against the length of a row.

    python -m launch.bench long_context --plot=FILE

A model of tiny width takes the gradient of one row of 1K to 64K tokens on one device: memory beside
the arguments, as the compiled program states it, and seconds. The peer is the same program with all
scores of a layer kept, compiled and not run. Then Qwen3-8B on paper: an update on 64 devices, eight
rows of 128K tokens, weights over all of them and each row's columns over 8.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.algos import objectives
from jaxrl.models import decoder, spec
from jaxrl.ops import attention
from jaxrl.parallel import mesh
from jaxrl.records import Rows
from jaxrl.training import step
from launch.benches import long_context_plot, scaling, tables

TINY = decoder.Config(V=512, D=64, L=2, H=2, K=1, N=32, F=128, context=1 << 20)
LENGTHS = tuple(1 << power for power in range(10, 17))
WHOLE = 1 << 14  # the longest row whose scores are also kept whole
LONG, DEVICES = 1 << 17, 64


def run(peer, plot_file=None):
    """Yields a row a figure; draws those of the tiny model if asked."""
    if peer is not None:
        raise ValueError(f"--peer={peer}: long_context has none to install; leave --peer out")
    jax.config.update("jax_num_cpu_devices", DEVICES)
    found = []
    for length in LENGTHS:
        compiled, args = gradient(length)
        turn = lambda: compiled(*args)
        seconds = tables.timed(turn, 3) if length <= WHOLE else tables.seconds(turn)
        whole = _mib(gradient(length, dense=True)[0]) if length <= WHOLE else None
        found.append((length, _mib(compiled), whole, seconds))
        peer = "whole scores" if whole else None
        yield tables.Row(f"{length:,} tokens: memory", found[-1][1], "MiB", peer, whole)
        yield tables.Row(f"{length:,} tokens: time", seconds, "s")
    yield from on_paper()
    if plot_file:
        long_context_plot.draw(found, plot_file)


def gradient(length, *, dense=False, model=TINY):
    """The compiled gradient of a row's loss, a quarter of its tokens scored, and its arguments."""
    params = spec.init(decoder.specs(model), jax.random.key(0))
    objective = functools.partial(objectives.OBJECTIVES["ppo_clip"], c=objectives.ObjectiveConfig())
    loss = step.make_loss(objective, model, remat="block")
    before, attention.DENSE = attention.DENSE, length if dense else attention.DENSE
    try:
        args = params, row(length, length // 4, model.V)
        return jax.jit(jax.grad(loss, has_aux=True)).lower(*args).compile(), args
    finally:
        attention.DENSE = before


def row(length, scored, vocab):
    """One random sequence, of which the last tokens are scored."""
    slot = jnp.arange(length - scored, length, dtype=jnp.int32)[None]
    flat, ones = jnp.zeros((1, length), jnp.int32), jnp.ones((1, scored))
    tokens = np.random.default_rng(0).integers(0, vocab, (1, length), np.int32)
    wide = {"tokens": jnp.asarray(tokens), "position": jnp.arange(length)[None], "lo": flat}
    ids = {"slot": slot, "parent": slot - 1} | dict.fromkeys(("sample", "group"), 0 * slot)
    floats = ("mask", "adv", "old_logp", "ref_logp", "sampler_logp", "prepared")
    return Rows(**wide, hi=flat + 1, **ids, **dict.fromkeys(floats, ones))


def on_paper(model=scaling.MODEL):
    """Rows of the compiled update of long rows on a mesh of many devices."""
    where = mesh.make(fsdp=DEVICES // 8, context=8)
    with jax.set_mesh(where):
        compiled = scaling.train(where, model, LONG, LONG // 8).compile()
    memory, case = compiled.memory_analysis(), f"Qwen3-8B, {LONG:,} tokens on {DEVICES} devices"
    yield tables.Row(f"{case}: arguments", memory.argument_size_in_bytes / 2**30, "GiB")
    yield tables.Row(f"{case}: beside them", memory.temp_size_in_bytes / 2**30, "GiB")


def _mib(compiled):
    return compiled.memory_analysis().temp_size_in_bytes / 2**20
