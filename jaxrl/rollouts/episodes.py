"""One task played to its end: the policy draws replies, tools answer, the env scores.

    player = Player(env, pool, tokenizer, draw, Limits(turns=5))
    episode = await player.play(task, law, lot="7/0/3")

Tokens in, tokens out: what the policy drew is kept as drawn, what the world says is rendered behind
it (chat/templates.delta). Nothing that a model writes ends a run: a call that cannot be read, or be
made, is answered in words, and every episode has an ending:

    answer   the env said that it is done         turns    limits.turns replies, the last with calls
    reply    a reply was cut at limits.reply      tokens   no room under limits.tokens
    time     limits.seconds were over             failed   the env broke down: unscorable
"""

import asyncio
import collections
import dataclasses
import zlib
from typing import Any

import numpy as np

from jaxrl import tools
from jaxrl.chat import templates, text, tool_calls
from jaxrl.envs import prompts as replies
from jaxrl.envs.base import Failure
from jaxrl.messages import Message

ENDINGS = ("answer", "turns", "reply", "tokens", "time", "failed")
HISTORIES = ("kept", "rendered")
LAST = "You have used your last turn with tools: give your answer now."


@dataclasses.dataclass(frozen=True)
class Limits:
    """How far an episode goes.

    history: kept, the tokens of earlier turns stay as they are, and the episode is one sample; or
    rendered, every turn begins with the conversation rendered anew (Qwen3's template drops earlier
    thoughts then), and is a sample of its own.
    """

    turns: int = 8  # replies; with the last of them tools cannot be called any more
    tokens: int = 2048  # behind the prompt, what the world says included
    reply: int = 512  # tokens of one reply
    observation: int = 4000  # characters of one result; the middle of a longer one is left out
    seconds: float = 300.0  # of the whole episode, waiting included
    history: str = "kept"

    def __post_init__(self):
        for key in ("turns", "tokens", "reply", "observation", "seconds"):
            if not getattr(self, key) > 0:
                raise ValueError(f"rollout.{key}={getattr(self, key)}: give more than 0")
        if self.history not in HISTORIES:
            raise ValueError(f"rollout.history={self.history!r}: give one of {HISTORIES}")


@dataclasses.dataclass
class Part:
    """Tokens that go through the learner as one sequence; all lists but `prompt` are parallel."""

    prompt: list[int]
    tokens: list[int] = dataclasses.field(default_factory=list)
    chosen: list[bool] = dataclasses.field(default_factory=list)  # by the policy
    logp: list[float] = dataclasses.field(default_factory=list)  # 0 where not chosen
    full_logp: list[float] = dataclasses.field(default_factory=list)
    turn: list[int] = dataclasses.field(default_factory=list)  # from 1

    def add(self, turn, tokens, logp=None, full_logp=None):
        """Appends what the policy drew, or (without log-probs) what the world said."""
        none = [0.0] * len(tokens)
        self.tokens += tokens
        self.chosen += [logp is not None] * len(tokens)
        self.logp += none if logp is None else logp
        self.full_logp += none if full_logp is None else full_logp
        self.turn += [turn] * len(tokens)


@dataclasses.dataclass
class Episode:
    """What became of one task."""

    index: int
    asked: tuple[Message, ...]  # the prompt
    state: Any
    parts: list[Part] = dataclasses.field(default_factory=list)
    said: list[Message] = dataclasses.field(default_factory=list)  # behind the prompt
    ending: str = ""  # one of ENDINGS; "" = under way
    reward: float = 0.0  # sum over the env's steps; NaN if it failed
    failure: str = ""  # envs.base.Failure.reason, or ""
    counts: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    unscored: str = ""  # a reply that the env has not been given


class Player:
    """Plays episodes of one env, any number at once.

    pool: where the env's code runs (rollouts/workers.py). draw: async (ids, max_new, law, seed) ->
    sampling.engine.Job. schemas: False keeps the tools' schemas out of the prompt, for a policy
    that was trained to know them.
    """

    def __init__(self, env, pool, tokenizer, draw, limits, *, schemas=True):
        self._env, self._pool, self._tokenizer = env, pool, tokenizer
        self._draw, self.limits = draw, limits
        self._tools = {t.name: t for t in map(tools.tool, getattr(env, "tools", ()))}
        self._schemas = tuple(self._tools.values()) if schemas else ()
        self._specials = tokenizer.specials()

    async def play(self, index, law, lot):
        """The Episode of task `index`. lot: text; equal lots of a policy draw the same."""
        state, asked = self._env.reset(int(index))
        e = Episode(int(index), asked, state)
        try:
            async with asyncio.timeout(self.limits.seconds):
                while not e.ending:
                    await self._turn(e, law, lot)
        except TimeoutError:
            e.ending = "time"
        if e.ending not in ("answer", "failed") and (self._tools or e.unscored):
            await self._step(e, e.unscored)  # its answer is what there is of one
        return e

    async def _turn(self, e, law, lot):
        number = 1 + sum(m.role == "assistant" for m in e.said)
        reply = await self._reply(e, number, law, lot)
        said, calls = tool_calls.parse(reply) if self._tools else (reply, ())
        made = tuple(call for call in calls if not isinstance(call, tool_calls.Malformed))
        e.said.append(Message("assistant", said if made else reply, made))
        e.unscored = "" if calls else reply
        last = number == self.limits.turns
        if e.ending:
            return
        if calls and last:
            e.ending = "turns"
            return
        world = (
            [await self._use(e, call) for call in calls] if calls else await self._step(e, reply)
        )
        if calls and number + 1 == self.limits.turns:
            world[-1] = world[-1]._replace(content=f"{world[-1].content}\n\n{LAST}")
        if not e.ending and last:
            e.ending = "turns"
        elif not e.ending:
            self._hear(e, number, world)

    async def _reply(self, e, number, law, lot):
        """Draws one reply; sets the ending where it was cut off."""
        part, room = self._context(e)
        most = min(self.limits.reply, room)
        seed = zlib.crc32(f"{lot}/{number}".encode()) & 0x7FFFFFFF
        job = await self._draw([*part.prompt, *part.tokens], most, law, seed)
        part.add(number, job.tokens, job.logp, job.full_logp)
        if job.ending != "stop":
            e.ending = "tokens" if room < self.limits.reply else "reply"
        return replies.cut(self._tokenizer.decode(job.tokens), self._env.stop)

    def _context(self, e):
        """The part that the next reply belongs to, and how many tokens it may have."""
        if not e.parts or self.limits.history == "rendered":
            shown = [*e.asked, *e.said]
            e.parts.append(Part(templates.render(self._tokenizer, shown, tools=self._schemas)))
        part = e.parts[-1]
        used = len(part.prompt) + len(part.tokens) - len(e.parts[0].prompt)
        return part, self.limits.tokens - used

    def _hear(self, e, number, world):
        """Puts what the world said behind the reply, or ends where there is no room to answer."""
        e.said += world
        if self.limits.history == "kept":
            part = e.parts[-1]
            context = {"last_id": part.tokens[-1], "tools": self._schemas}
            heard = templates.delta(self._tokenizer, world, **context)
            room = self.limits.tokens - len(part.tokens) - len(heard)
            if room >= 1:  # what nobody answers is not kept: it could be longer than any row
                part.add(number, heard)
        else:
            shown = [*e.asked, *e.said]
            whole = templates.render(self._tokenizer, shown, tools=self._schemas)
            room = self.limits.tokens - (len(whole) - len(e.parts[0].prompt))
        if room < 1:
            e.ending = "tokens"

    async def _step(self, e, action):
        """Gives a reply to the env; what it says back."""
        e.unscored = ""
        step = await self._ask("step", e.state, action)
        if not isinstance(step, Failure) and not (step.done or step.messages):
            step = Failure("error", "neither done nor anything to go on from")
        if isinstance(step, Failure):
            e.ending, e.failure, e.reward = "failed", step.reason, np.nan
            return []
        e.state, e.reward = step.state, e.reward + step.reward
        if step.done:
            e.ending = e.ending or "answer"
        return [self._plain(m) for m in step.messages]

    async def _use(self, e, call):
        """The result of a call, or what was wrong with it, as a message."""
        if isinstance(call, tool_calls.Malformed):
            e.counts["malformed"] += 1
            return self._plain(tool_calls.observation(call))
        e.counts["calls"] += 1
        return self._plain(Message("tool", await self._result(e, call), call_id=call.id))

    async def _result(self, e, call):
        fit, wrong = tools.fitted(self._tools, call)
        if wrong:
            e.counts["refused"] += 1
            return wrong
        used = await self._ask("use", e.state, fit)
        if isinstance(used, Failure):
            e.counts["broken"] += 1
            return f"error: {call.name} gave no result ({used.reason}); try something else"
        e.state, result = used
        return result

    async def _ask(self, method, *arguments):
        return await asyncio.wrap_future(self._pool.submit(method, *arguments))

    def _plain(self, message):
        shown = text.cut(message.content, self.limits.observation)
        return message._replace(content=text.harmless(shown, self._specials))
