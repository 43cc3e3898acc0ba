"""A tiny random Llama over a byte-level tokenizer: arrays, a checkpoint, the config of a run."""

import dataclasses

import jax
import numpy as np
import tiny_tokenizers

from configs import tiny
from jaxrl.models import checkpoints, decoder, forms, frozen, lora, spec
from jaxrl.parallel import mesh, rules
from jaxrl.records import Trajectory
from jaxrl.training import optimizer, setup

MODEL = decoder.Config(V=264, D=16, L=2, H=4, K=2, N=4, F=32, context=64)
EXPERTS = dataclasses.replace(MODEL, F=8, E=6, top_k=2, qk_norm=True, tied=False)
TOKENIZER = tiny_tokenizers.build()
FULL = lora.LoraConfig()  # rank 0: all parameters are trained


def params(c=MODEL, seed=0):
    """Random parameters; norms and biases too, so that a forgotten one shows."""
    rng = np.random.default_rng(seed)
    normal = lambda s: rng.normal(size=s.shape).astype(np.float32)
    scale = {"ones": 0.1, "zeros": 0.1, "normal": c.D**-0.5, "embed": c.D**-0.5}
    draw = lambda s: (s.init == "ones") + scale[s.init] * normal(s)
    return jax.tree.map(draw, decoder.specs(c), is_leaf=spec.is_spec)  # numpy: nothing compiles


def adapters(c, model=MODEL, seed=0):
    """Random adapters, B too: as after some training."""
    rng = np.random.default_rng(seed)
    draw = lambda s: rng.normal(size=s.shape).astype(np.float32) / 4
    return jax.tree.map(draw, lora.specs(model, c), is_leaf=spec.is_spec)


def held(precision, values=None, c=MODEL):
    """Parameters, those above if none are given, as a frozen base of that precision."""
    values = params(c) if values is None else values
    names = lambda path: tuple(key.key for key in path)
    reduce = lambda path, s, x: frozen.reduced(x, names(path), s.fan_in, precision)
    return jax.tree_util.tree_map_with_path(reduce, forms.specs(c), values, is_leaf=spec.is_spec)


def write(path, c=MODEL):
    """The same as a Hugging Face directory."""
    checkpoints.save(params(c), c, TOKENIZER, path)
    return path


def config(checkpoint, **changes):
    """configs/tiny.py on the tasks of tiny_env; changes: {"rollout.group": 4} and so on."""
    c = tiny.get_config()
    c.model.checkpoint = str(checkpoint)
    c.env.name = "tiny_env:Parity"
    c.env.params = {"size": 16}
    c.eval.params = {"split": "held_out", "size": 8}
    c.update_from_flattened_dict(changes)
    return c


def base(devices=None, sizes=None, *, model=MODEL, lr=1e-2, c=FULL, **how):
    """A setup.Base over the tiny model, on the first device or on a mesh of `sizes`.

    c: a LoraConfig; of rank 0 all parameters are trained.
    """
    where = mesh.make(**sizes or {}, devices=devices or jax.devices()[:1])
    specs = lora.specs(model, c) if c.rank else decoder.specs(model)
    abstract = spec.abstract(specs, shardings=rules.shardings(specs, where, rules.TRAIN))
    tuning = optimizer.OptimizerConfig(lr=lr, eps=1e-3)  # a large ε: rounding is not amplified
    tx = optimizer.build(tuning)
    return setup.Base(None, model, TOKENIZER, where, abstract, tuning, tx, how, adapters=c)


def state(base, seed=0):
    """A fresh TrainState, placed as the base says."""
    c = base.adapters
    first = adapters(c, base.model, seed) if c.rank else params(base.model, seed)
    made = optimizer.init_state(base.tx, first)
    return jax.device_put(made, base.shardings())


def trajectory(seed=0, *, P=4, G=3, T=7, R=5, V=MODEL.V):
    """Random tokens of ragged lengths with believable log-probs and rewards in {0, 1}."""
    rng = np.random.default_rng(seed)
    B = P * G
    valid = np.arange(R) < rng.integers(1, R + 1, B)[:, None]
    prompt_valid = np.arange(T)[::-1] < rng.integers(1, T + 1, P)[:, None]
    logp = np.where(valid, rng.uniform(-8, -1, (B, R)), 0).astype(np.float32)
    return Trajectory(
        prompt_tokens=np.where(prompt_valid, rng.integers(1, V, (P, T)), 0).astype(np.int32),
        prompt_valid=prompt_valid,
        tokens=np.where(valid, rng.integers(1, V, (B, R)), 0).astype(np.int32),
        valid=valid,
        mask=valid,
        logp=logp,
        full_logp=logp,
        group=np.repeat(np.arange(P), G).astype(np.int32),
        stopped=rng.random(B) < 0.5,
        task=np.arange(100, 100 + P),
        version=np.zeros(P, np.int64),
        texts=tuple(f"text {b}" for b in range(B)),
        reward=rng.integers(0, 2, B).astype(np.float32),
    )


def assert_close(got, want, tolerance):
    """Trees equal, each leaf within `tolerance` of its own largest value."""
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for (path, x), y in zip(
        jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(want), strict=True
    ):
        scale = max(np.abs(y).max(), 1e-6)
        worst = np.abs(np.asarray(x, np.float64) - np.asarray(y)).max() / scale
        assert worst <= tolerance, f"{jax.tree_util.keystr(path)}: {worst:.1e}"
