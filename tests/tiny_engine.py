"""The tiny model behind an engine. All tests share its few shapes: compiles are what they cost."""

import dataclasses

import jax
import numpy as np
import tiny

from jaxrl.ops.distributions import Law
from jaxrl.sampling.engine import Engine, EngineConfig, Request

KEY = jax.random.key(3)
SMALL = EngineConfig(slots=2, pages=64, page=4, steps=3, chunk=8)
LAW = Law(0.7, top_p=0.9)


class NoEnd:
    """The tiny tokenizer with an end that cannot be drawn by chance."""

    eos_ids = ()
    token_bytes = staticmethod(tiny.TOKENIZER.token_bytes)


def make(tokenizer=NoEnd, model=tiny.MODEL, params=None, **changes):
    """An engine with weights. What it needs of 32 tokens and less is one set of programs."""
    engine = Engine(model, tokenizer, dataclasses.replace(SMALL, **changes), KEY)
    engine.load(tiny.params(model) if params is None else params)
    return engine


def requests(count=7, longest=20, law=LAW):
    """Prompts and answers of many lengths, 30 tokens together at most."""
    rng = np.random.default_rng(1)
    draw = lambda: tuple(rng.integers(3, 200, rng.integers(1, longest)).tolist())
    return [Request(draw(), int(rng.integers(1, 12)), law, seed=i) for i in range(count)]
