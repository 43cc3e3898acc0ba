"""What the update and a decode step of Qwen3-8B cost a device on 8, 64 and 512 of them, on paper.

    python -m launch.bench scaling --plot=FILE

Both are compiled for the CPU, partitioned over that many of its devices, from shapes alone: no
weight exists. Weights lie over 8 devices (mesh.fsdp), the rest of the mesh is data, and each device
keeps one row of 4,096 tokens, or eight rows of the decoder: with more devices the batch grows, what
a device does should not. Read from the compiled program: FLOP, memory beyond the arguments and with
them, and bytes sent by kind of collective (collectives.py).
"""

import functools

import jax
import jax.numpy as jnp

from jaxrl.algos import objectives
from jaxrl.models import decoder, spec
from jaxrl.parallel import mesh, rules
from jaxrl.records import Rows
from jaxrl.training import optimizer, step
from launch.benches import collectives, tables

MODEL = decoder.Config(
    V=151_936,
    D=4096,
    L=36,
    H=32,
    K=8,
    N=128,
    F=12_288,
    rope_theta=1e6,
    norm_eps=1e-6,
    tied=False,
    qk_norm=True,
    context=40_960,
)
DEVICES = (8, 64, 512)
FSDP = 8
WIDTH, SCORED = 4096, 2048  # of a learner's row
ROWS, PAST = 8, 1024  # of a decoder's device, and the tokens it has behind it


def run(peer, plot_file=None):
    """Yields a row a figure; draws them if asked."""
    if peer is not None:
        raise ValueError(f"--peer={peer}: scaling has no peer; leave --peer out")
    jax.config.update("jax_num_cpu_devices", max(DEVICES))
    found = {(name, n): measure(name, n) for name in PROGRAMS for n in DEVICES}
    for (name, n), figures in found.items():
        for what, (value, unit) in figures.items():
            yield tables.Row(f"{name}, {n} devices: {what}", value, unit)


def measure(name, devices, model=MODEL):
    """{figure: (value, unit)} of one program on a mesh of so many devices."""
    where = mesh.make(data=devices // FSDP, fsdp=FSDP, devices=jax.devices()[:devices])
    with jax.set_mesh(where):
        compiled = PROGRAMS[name](where, model).compile()
    memory = compiled.memory_analysis()
    sent = collectives.sent(compiled.as_text(), devices)
    own = memory.argument_size_in_bytes
    return {
        "TFLOP": (compiled.cost_analysis()["flops"] / 1e12, "TFLOP"),
        "arguments": (own / 2**30, "GiB"),
        "beside them": (memory.temp_size_in_bytes / 2**30, "GiB"),
    } | {f"{kind} sent": (size / 2**20, "MiB") for kind, size in sent.items()}


def train(where, model):
    """The lowered update, one micro-batch of a row a device."""
    tree = decoder.specs(model)
    abstract = spec.abstract(tree, shardings=rules.shardings(tree, where, rules.TRAIN))
    tx = optimizer.build(optimizer.OptimizerConfig())
    state = optimizer.abstract_state(tx, abstract)
    shardings = jax.tree.map(lambda x: x.sharding, state)
    objective = functools.partial(objectives.OBJECTIVES["ppo_clip"], c=objectives.ObjectiveConfig())
    loss = step.make_loss(objective, model, dtype=jnp.bfloat16, remat="block")
    N = where.size
    place = jax.NamedSharding(where, rules.spec(rules.TRAIN, None, "batch", None))
    array = lambda M, dtype: jax.ShapeDtypeStruct((1, N, M), dtype, sharding=place)
    wide = {k: array(WIDTH, jnp.int32) for k in ("tokens", "position", "lo", "hi")}
    ids = {k: array(SCORED, jnp.int32) for k in ("slot", "parent", "sample", "group")}
    floats = ("mask", "adv", "old_logp", "ref_logp", "sampler_logp", "prepared")
    rows = Rows(**wide, **ids, **{k: array(SCORED, jnp.float32) for k in floats})
    return step.make_train_step(loss, tx, shardings).lower(state, rows, jnp.int32(1))


PROGRAMS = {"update": train}
