"""Our engine as a chat model: a policy, a judge or a simulated user on the devices at hand.

    with Driver(engine) as driver:                      # engine.load(params) before
        ask = Local(driver, tokenizer, LocalConfig(max_new=512, law=Law(0.0)))
        replies = await ask([[Message("user", "Which is better?")], ...])
        ask.counts                                      # of all calls so far

A conversation is rendered anew each time it comes; what it begins with in common with others, its
own earlier turns too, is computed once (pages.py). Another checkpoint is another engine.
"""

import asyncio
import collections
import dataclasses
import hashlib
from typing import Any

import numpy as np

from jaxrl.chat import templates, tool_calls
from jaxrl.chat.base import Reply
from jaxrl.envs import prompts
from jaxrl.messages import Tool
from jaxrl.ops.distributions import Law
from jaxrl.sampling.requests import Request


@dataclasses.dataclass(frozen=True)
class LocalConfig:
    """How every conversation is answered."""

    max_new: int = 512  # longest reply in tokens
    law: Law = dataclasses.field(default_factory=Law)
    stop: tuple[str, ...] = ()  # texts that end a reply, and are not part of it
    tools: tuple[Tool, ...] = ()  # that the model may call
    constraint: tuple[str, ...] | dict[str, Any] | None = None  # texts to choose from, or a schema
    seed: int = 0
    name: str = ""  # of the weights, for recordings


class Local:
    """A ChatModel over a Driver, with counters. To be used from one event loop at a time.

    The n-th time that a conversation comes it is drawn from (seed, conversation, n), whatever else
    is under way.

    counts: requests, prompt_tokens, found_tokens (of those, not computed again), new_tokens, and
    failed replies by their failure.
    """

    def __init__(self, driver, tokenizer, c: LocalConfig):
        self.c, self._driver, self._tokenizer = c, driver, tokenizer
        self.counts, self._asked = collections.Counter(), collections.Counter()
        self.about = {  # what a recording of its replies is keyed by
            "model": c.name,
            "law": dataclasses.asdict(c.law) | {"max_new": c.max_new, "stop": list(c.stop)},
            "tools": [tool_calls.signature(t) for t in c.tools],
            "constraint": c.constraint,
            "seed": c.seed,
        }

    async def __call__(self, conversations):
        """One Reply a conversation, in their order; all are under way at once."""
        replies = await asyncio.gather(*map(self._ask, conversations))
        self.counts.update(r.failure for r in replies if r.failure)
        return replies

    async def _ask(self, conversation):
        self.counts["requests"] += 1
        try:
            ids = templates.render(self._tokenizer, conversation, tools=self.c.tools)
        except Exception as error:  # whatever a template makes of what it was given
            return _failed("refused", error)
        try:
            job = await asyncio.wrap_future(self._driver.submit(self._request(tuple(ids))))
        except ValueError as error:
            return _failed("refused", error)
        except Exception as error:  # of the engine, for all
            return _failed("error", error)
        return self._reply(job)

    def _request(self, tokens):
        first = own_seed(self.c.seed, tokens, 0)
        seed = own_seed(self.c.seed, tokens, self._asked[first])
        self._asked[first] += 1
        return Request(tokens, self.c.max_new, self.c.law, self.c.stop, seed, self.c.constraint)

    def _reply(self, job):
        prompt, new = len(job.request.tokens), len(job.tokens)
        self.counts.update(prompt_tokens=prompt, new_tokens=new, found_tokens=job.found)
        text = said(self._tokenizer, job.tokens, self.c.stop)
        text, calls = tool_calls.parse(text) if self.c.tools else (text, ())
        good, bad = tool_calls.sorted_out(calls)
        return Reply(text, good, malformed=bad, prompt_tokens=prompt, new_tokens=new)


def said(tokenizer, tokens, stop):
    """The text of what was drawn, up to the first stop string."""
    return prompts.cut(tokenizer.decode(tokens), stop)


def own_seed(seed, tokens, number):
    """A seed of 31 bits for the number-th answer to these tokens."""
    text = f"{seed} {number} ".encode() + np.asarray(tokens, np.int32).tobytes()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest()) >> 1


def _failed(failure, error):
    return Reply("", failure=failure, detail=f"{error}"[:300])
