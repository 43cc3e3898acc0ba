"""A chat model as a judge: asked until its reply can be read, a fixed number of times at most."""

import collections
import dataclasses
import logging

from jaxrl.chat.base import ChatModel
from jaxrl.messages import Message
from jaxrl.rewards.rubric import Rubric
from jaxrl.rewards.transcript import Limits

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Judge:
    """Who judges, by what, and how often it is asked: 10 times in ArenaRL's code (2601.06487).

    The sampling law is the model's own: give it temperature 0, as there.
    """

    model: ChatModel
    rubric: Rubric
    tries: int = 10
    limits: Limits = dataclasses.field(default_factory=Limits)

    def __post_init__(self):
        if self.tries < 1:
            raise ValueError(f"tries={self.tries}: give 1 or more")


async def ask(judge, requests, read):
    """What `read` makes of each request's reply: (values, counts). All requests in one call.

    read(text) -> (value, …), or (None, why) if the reply is no verdict: it is asked for again, with
    a sentence that says so (at temperature 0 the same request would be answered the same). A call
    that fails is made again as it was. After `tries` the value is None.

    counts: calls, retries, prompt_tokens, new_tokens; failed/WHY of every try and neutral/WHY of
    every value that is None, WHY one of chat.base.FAILURES or verdicts.FAILURES.
    """
    values, why = [None] * len(requests), [""] * len(requests)
    counts, left, texts = collections.Counter(), list(range(len(requests))), list(requests)
    for attempt in range(judge.tries):
        if not left:
            break
        replies = await judge.model([texts[i] for i in left])
        counts["calls"] += len(left)
        counts["retries"] += len(left) if attempt else 0
        for i, reply in zip(left, replies, strict=True):
            counts["prompt_tokens"] += reply.prompt_tokens
            counts["new_tokens"] += reply.new_tokens
            values[i], why[i] = _read(reply, read)
            if values[i] is None:
                counts[f"failed/{why[i]}"] += 1
                texts[i] = requests[i] if reply.failure else _again(requests[i])
        left = [i for i in left if values[i] is None]
    counts.update(f"neutral/{why[i]}" for i in left)
    if left:
        log.warning("%d of %d judgements are neutral; first: %s", len(left), len(why), why[left[0]])
    return values, counts


def _read(reply, read):
    """(value, "") or (None, why)."""
    if reply.failure:
        return None, reply.failure
    value, rest = read(reply.text)
    return (None, rest) if value is None else ((value, rest), "")


def _again(request):
    *before, last = request
    note = "Your last reply could not be read. Reply with the one JSON object and nothing else."
    return (*before, Message(last.role, f"{last.content}\n\n{note}"))
