"""How much of the device decoding and training use: % of its bandwidth, and of its FLOP/s (MFU).

    python -m launch.bench accelerator

A random model of Qwen3-1.7B's shape in bfloat16 on one device. Decoding: 64 samples of 256 tokens
after prompts of 512, without the prefill; the floor reads the weights and what the samples see of
their caches once a step. Training: one AdamW update of rows of 4,096 tokens, all scored; the floor
is the model's own products, at 6 FLOP a parameter and token and the causal half of attention's,
without what the backward pass recomputes. Both ceilings are measured in the same run. On a CPU a
small model in f32 takes its place: that shows that the programs run, and no more.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.algos import objectives
from jaxrl.models import decoder, spec
from jaxrl.sampling import decode, stops
from jaxrl.training import optimizer, step
from launch.benches import long_context, sampler, tables

QWEN3 = decoder.Config(
    V=151_936,
    D=2048,
    L=28,
    H=16,
    K=8,
    N=128,
    F=6144,
    rope_theta=1e6,
    norm_eps=1e-6,
    qk_norm=True,
    context=40_960,
)
SMALL = decoder.Config(V=8192, D=256, L=4, H=4, K=2, N=64, F=768, qk_norm=True)
CASES = (sampler.Case(64, 512, 1, 3), sampler.Case(8, 512, 8, 3))  # alone, and in groups
NEW_TOKENS = 256
WIDTH, ROWS, PARTS = 4096, 4, 2  # rows of a micro-batch, micro-batches of an update


def run(peer):
    """Yields the rows of the bench: the ceilings, decoding, training."""
    if peer is not None:
        raise ValueError(f"--peer={peer}: accelerator has none; leave it out")
    on_cpu = jax.default_backend() == "cpu"
    model, dtype, rows, name = QWEN3, jnp.bfloat16, ROWS, "Qwen3-1.7B's shape"
    if on_cpu:
        model, dtype, rows, name = SMALL, jnp.float32, 1, "small"
    flops = tables.matmul_flops(2048 if on_cpu else 8192, dtype)
    bandwidth = tables.read_bandwidth(8192 if on_cpu else 32_768, dtype)
    yield tables.Row("ceiling: products", flops / 1e12, "TFLOP/s")
    yield tables.Row("ceiling: reading", bandwidth / 1e9, "GB/s")
    params = jax.jit(lambda: spec.init(decoder.specs(model), jax.random.key(0), dtype))()
    for case in CASES:
        seconds = decoding(params, model, case, dtype)
        floor = sampler.decode_seconds(model, case, NEW_TOKENS, flops, bandwidth, dtype)
        made = case.P * case.G * (NEW_TOKENS - 1)
        what = f"{name}, decoding {case.P} × {case.G} after {case.T} tokens"
        yield tables.Row(what, made / seconds, "tokens/s", floor=made / floor)
    del params
    seconds, learned = training(model, rows, dtype), PARTS * rows * WIDTH
    floor = flops * WIDTH / products(model, WIDTH)
    yield tables.Row(f"{name}, training", learned / seconds, "tokens/s", floor=floor)


def decoding(params, model, case, dtype):
    """Seconds of all tokens of the samples but the first, which comes with the prefill."""
    prompts_PT = np.random.default_rng(0).integers(100, model.V, (case.P, case.T), np.int32)
    arrays = prompts_PT, np.ones_like(prompts_PT, bool), np.ones(case.P, bool)
    never = stops.table((), (), [b""] * model.V, model.V)

    def seconds(tokens):
        settings = decode.SampleConfig(group=case.G, max_new=tokens, dtype=dtype)
        sample = jax.jit(functools.partial(decode.sample, model=model, c=settings))
        turn = lambda: sample(params, *arrays, jax.random.key(0), never)
        return tables.timed(turn, case.repeats)

    return seconds(NEW_TOKENS) - seconds(1)


def training(model, rows, dtype):
    """Seconds of an update, its state donated from one to the next."""
    objective = functools.partial(objectives.OBJECTIVES["ppo_clip"], c=objectives.ObjectiveConfig())
    loss = step.make_loss(objective, model, dtype=dtype, remat="block")
    tx = optimizer.build(optimizer.OptimizerConfig())
    start = lambda: optimizer.init_state(tx, spec.init(decoder.specs(model), jax.random.key(0)))
    kept = [jax.jit(start)()]
    update = step.make_train_step(loss, tx, jax.tree.map(lambda x: x.sharding, kept[0]))
    part = long_context.row(WIDTH, WIDTH - 1, model.V)
    batch = jax.tree.map(lambda x: jnp.broadcast_to(x, (PARTS, rows, x.shape[1])), part)

    def turn():
        kept[0], metrics, _ = update(kept[0], batch, jnp.int32(PARTS))
        return metrics

    return tables.timed(turn, 3)


def products(c, T):
    """FLOP of the loss and gradient of T tokens: parameters, and scores and sums of attention."""
    table = c.D * c.V  # looking rows up multiplies nothing
    weights = spec.count(decoder.specs(c)) - (0 if c.tied else table)
    return 6 * weights * T + 6 * c.L * c.H * c.N * T**2
