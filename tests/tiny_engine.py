"""The tiny model behind an engine. All tests share its few shapes: compiles are what they cost."""

import dataclasses
import itertools
import threading
import time

import jax
import numpy as np
import tiny
import tiny_tokenizers

from jaxrl.ops.distributions import Law
from jaxrl.sampling.engine import Engine, EngineConfig, Job, Request

KEY = jax.random.key(3)
SMALL = EngineConfig(slots=2, pages=64, page=4, steps=3, chunk=8)
LAW = Law(0.7, top_p=0.9)
SECONDS = 20  # until a hang is called one
TEMPLATE = (
    "{% for m in messages %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHAT = tiny_tokenizers.build(("<|im_start|>", "<|im_end|>"), TEMPLATE, eos="<|im_end|>")
CHAT_MODEL = dataclasses.replace(tiny.MODEL, V=CHAT.vocab_size + 3, context=2048)


class NoEnd:
    """The tiny tokenizer with an end that cannot be drawn by chance."""

    eos_ids = ()
    token_bytes = staticmethod(tiny.TOKENIZER.token_bytes)


def make(tokenizer=NoEnd, model=tiny.MODEL, params=None, **changes):
    """An engine with weights. What it needs of 32 tokens and less is one set of programs."""
    engine = Engine(model, tokenizer, dataclasses.replace(SMALL, **changes), KEY)
    engine.load(tiny.params(model) if params is None else params)
    return engine


def make_chat():
    """An engine that chats, with room for a judge's prompts."""
    return make(CHAT, CHAT_MODEL, pages=64, page=64, steps=4, chunk=16)


def requests(count=7, longest=20, law=LAW):
    """Prompts and answers of many lengths, 30 tokens together at most."""
    rng = np.random.default_rng(1)
    draw = lambda: tuple(rng.integers(3, 200, rng.integers(1, longest)).tolist())
    return [Request(draw(), int(rng.integers(1, 12)), law, seed=i) for i in range(count)]


def until(true):
    """Waits for what another thread does."""
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.001)


class Scripted:
    """An engine without a model: draws say(request), three tokens a step, when it is let.

    say gives ids; without it 0, 1, 2 …
    """

    def __init__(self, say=lambda request: itertools.count(), steps=10_000):
        self.jobs, self.cancelled, self.loaded = {}, [], None
        self.say, self.allowed = say, threading.Semaphore(steps)

    def submit(self, request):
        if not request.tokens:
            raise ValueError("0 tokens")
        job = Job(request)
        self.jobs[job] = iter(self.say(request))
        return job

    def step(self):
        assert self.allowed.acquire(timeout=SECONDS)
        for job, rest in list(self.jobs.items()):
            left = min(3, job.request.max_new - len(job.tokens))
            new = list(itertools.islice(rest, left))
            job.tokens += new
            job.full_logp += [-0.5] * len(new)
            if len(new) < left or len(job.tokens) == job.request.max_new:
                job.ending = "stop" if len(new) < left else "length"
                del self.jobs[job]

    def load(self, params):
        if self.jobs:
            raise RuntimeError("requests are under way")
        self.loaded = params

    def cancel(self, job):
        del self.jobs[job]
        self.cancelled.append(job)
