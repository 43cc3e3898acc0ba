"""What the update and a decode step of Qwen3-8B cost a device on 8, 64 and 512 of them, on paper.

    python -m launch.bench scaling --plot=FILE

Both are compiled for the CPU, partitioned over that many of its devices, from shapes alone: no
weight exists. For the update the weights lie over 8 devices (mesh.fsdp), for decoding over 8
(mesh.tensor); the rest of the mesh is data, and each device keeps one row of 4,096 tokens, or each
8 of them 64 samples: with more devices the batch grows, what a device does should not. Read from
the compiled program: FLOP, memory of the arguments and beside them, and bytes sent by kind of
collective (compiled.py). A CPU computes and sends in f32 what is bfloat16 here, and sums gradients
whole before each device takes its part of them: an accelerator needs less memory and sends less.
"""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from jaxrl.algos import objectives
from jaxrl.models import decoder, spec
from jaxrl.models.layers import rms_norm
from jaxrl.ops import distributions
from jaxrl.parallel import mesh, rules
from jaxrl.records import Rows
from jaxrl.sampling import cache
from jaxrl.training import optimizer, step
from launch.benches import compiled, scaling_plot, tables

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
SPLIT = 8  # devices that share the weights
WIDTH, SCORED = 4096, 2048  # of a learner's row
PROMPTS, GROUP, TRUNK, BRANCH = 8, 8, 1024, 1024  # of a decoder's SPLIT devices


def run(peer, plot_file=None):
    """Yields a row a figure; draws them if asked."""
    if peer is not None:
        raise ValueError(f"--peer={peer}: scaling has no peer; leave --peer out")
    jax.config.update("jax_num_cpu_devices", max(DEVICES))
    found = {}
    for name in PROGRAMS:
        for devices in DEVICES:
            found[name, devices] = measure(name, devices)
            for what, (value, unit) in found[name, devices].items():
                yield tables.Row(f"{name}, {devices} devices: {what}", value, unit)
    if plot_file:
        scaling_plot.draw(found, plot_file)


def measure(name, devices, model=MODEL):
    """{figure: (value, unit)} of a device, of one program on a mesh of so many devices."""
    axis, lower = PROGRAMS[name]
    sizes = {"data": devices // SPLIT, axis: SPLIT}
    where = mesh.make(**sizes, devices=jax.devices()[:devices])
    with jax.set_mesh(where):
        program = lower(where, model).compile()
    memory, found = program.memory_analysis(), compiled.read(program.as_text(), devices)
    return {
        "products": (found.pop("flop") / 1e12, "TFLOP"),
        "arguments": (memory.argument_size_in_bytes / 2**30, "GiB"),
        "beside them": (memory.temp_size_in_bytes / 2**30, "GiB"),
    } | {kind: (size / 2**30, "GiB") for kind, size in found.items()}


def train(where, model, width=WIDTH, scored=SCORED):
    """The lowered update: one micro-batch of a row a device, or where columns are split, a part."""
    tree = decoder.specs(model)
    abstract = spec.abstract(tree, shardings=rules.shardings(tree, where, rules.TRAIN))
    tx = optimizer.build(optimizer.OptimizerConfig())
    state = optimizer.abstract_state(tx, abstract)
    shardings = jax.tree.map(lambda x: x.sharding, state)
    objective = functools.partial(objectives.OBJECTIVES["ppo_clip"], c=objectives.ObjectiveConfig())
    loss = step.make_loss(objective, model, dtype=jnp.bfloat16, remat="block")
    N = where.size // where.shape["context"]
    place = NamedSharding(where, rules.spec(rules.TRAIN, None, "batch", "time"))
    array = lambda M, dtype: jax.ShapeDtypeStruct((1, N, M), dtype, sharding=place)
    wide = {k: array(width, jnp.int32) for k in ("tokens", "position", "lo", "hi")}
    ids = {k: array(scored, jnp.int32) for k in ("slot", "parent", "sample", "group")}
    floats = ("mask", "adv", "old_logp", "ref_logp", "sampler_logp", "prepared")
    rows = Rows(**wide, **ids, **{k: array(scored, jnp.float32) for k in floats})
    return step.make_train_step(loss, tx, shardings).lower(state, rows, jnp.int32(1))


def sample(where, model):
    """The lowered decode step: a token a sample, through all layers, the head and the law."""
    P = PROMPTS * where.size // SPLIT
    B = P * GROUP
    place = lambda *axes: NamedSharding(where, rules.spec(rules.SAMPLE, *axes))
    array = lambda shape, dtype, *axes: jax.ShapeDtypeStruct(shape, dtype, sharding=place(*axes))
    params = _turned(where, model)
    heads = "batch", "kv_heads", None, None
    kept = lambda n, *shape: array((n, model.K, *shape), jnp.bfloat16, *heads)
    trunk = kept(P, model.N, TRUNK), kept(P, TRUNK, model.N)
    layer = cache.Cache(*trunk, kept(B, model.N, BRANCH), kept(B, BRANCH, model.N))
    of_row = lambda dtype: array((B,), dtype, "batch")

    def run(params, token_B, position_B, u_B, valid_PT, layers):
        attend = functools.partial(cache.attend, valid_PT=valid_PT, slot=position_B[0] - TRUNK)
        hidden_BD, layers = decoder.step(params, token_B, position_B, attend, layers, model)
        hidden_BD = rms_norm(hidden_BD, params["norm"], model.norm_eps)
        logits_BV = (hidden_BD @ decoder.head(params).T).astype(jnp.float32)
        return distributions.draw(logits_BV, u_B, distributions.Law()), layers

    valid = array((P, TRUNK), bool, "batch", None)
    args = params, of_row(jnp.int32), of_row(jnp.int32), of_row(jnp.float32), valid
    return jax.jit(run, donate_argnums=5).lower(*args, [layer] * model.L)


def _turned(where, model):
    """`decoder.columns` as shapes, each matrix split where its heads or units are."""
    tree = spec.abstract(decoder.specs(model), jnp.bfloat16)
    tree = jax.eval_shape(functools.partial(decoder.columns, c=model, rows=GROUP), tree)
    rows, columns = PartitionSpec("tensor"), PartitionSpec(None, "tensor")
    split = {"qkv": rows, "gate_up": rows, "o": columns, "down": columns}
    split |= {"embed": rows, "head": rows}

    def placed(path, x):
        sharding = NamedSharding(where, split.get(path[-1].key, PartitionSpec()))
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

    return jax.tree_util.tree_map_with_path(placed, tree)


PROGRAMS = {"update": ("fsdp", train), "decode step": ("tensor", sample)}
