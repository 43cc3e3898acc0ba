"""A chat model behind any endpoint that speaks OpenAI's chat completions.

    ask = Endpoint(HttpConfig("https://api.example.com/v1", "big-judge", law={"temperature": 0}))
    replies = await ask([[Message("user", "Which is better?")], ...])
    ask.counts, ask.cost                                          # of all calls so far

Retried with growing pauses: limits of rate, errors of the server, timeouts, broken connections and
bodies that are no answer. All else, and what is left after the last try, is told in the Reply.
Streams were left out: nobody here reads a reply before it is whole.
"""

import asyncio
import collections
import contextlib
import dataclasses
import json
import os
import random
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
import openai

from jaxrl.chat import tool_calls
from jaxrl.chat.base import Reply
from jaxrl.messages import Tool

OURS = {"model", "messages", "tools", "stream", "n"}  # of a request's body; the rest is law
RETRIED = (408, 409, 425)  # and all from 500, and 429 but for an empty account


@dataclasses.dataclass(frozen=True)
class HttpConfig:
    """Where, whom and how to ask. Prices and cost in one currency, whichever."""

    url: str  # up to and with the version: https://api.example.com/v1
    model: str
    law: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # temperature, max_tokens, …
    tools: tuple[Tool, ...] = ()  # that the model may call
    key: str = "OPENAI_API_KEY"  # the environment variable that holds the key; "" = none needed
    concurrent: int = 16  # requests under way at once
    seconds: float = 120.0  # limit of one try, from sending to the last byte
    tries: int = 6
    wait: float = 1.0  # seconds before the second try; doubles each time
    longest_wait: float = 60.0  # seconds; an endpoint that asks for a longer wait is given up
    price_prompt: float = 0.0  # of a million tokens
    price_new: float = 0.0
    cost_limit: float = 0.0  # beyond it nothing is asked, but for what is under way; 0 = off

    def __post_init__(self):
        if not re.match(r"https?://.", self.url):
            raise ValueError(f"url = {self.url!r} is no address: start it with https:// or http://")
        for name in ("concurrent", "seconds", "tries"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} = {getattr(self, name)!r} must be positive")
        ours = sorted(OURS & set(self.law))
        if ours:
            raise ValueError(f"law has {ours}, which the client itself sets: leave them out")
        if self.cost_limit and not (self.price_prompt and self.price_new):
            raise ValueError(
                f"cost_limit = {self.cost_limit} needs price_prompt and price_new: the prices of "
                "a million tokens"
            )


class Endpoint:
    """A ChatModel over HTTP, with counters. To be used from one event loop at a time.

    counts: requests, retries, prompt_tokens, new_tokens, and failed replies by their failure.
    """

    def __init__(self, c: HttpConfig):
        self.c = c
        self.counts = collections.Counter()
        self.about = {  # what a recording of its replies is keyed by
            "model": c.model,
            "law": dict(c.law),
            "tools": [tool_calls.signature(t) for t in c.tools],
        }
        self._trust = httpx2.create_ssl_context()  # reads all certificates: 40 ms, so only once
        self._calls, self._client, self._slots = 0, None, None
        self._key()  # a missing key is refused here, before any compute

    @property
    def cost(self):
        """What the tokens counted so far cost."""
        prompt, new = self.counts["prompt_tokens"], self.counts["new_tokens"]
        return (prompt * self.c.price_prompt + new * self.c.price_new) / 1e6

    async def __call__(self, conversations):
        """One Reply a conversation, in their order."""
        async with self._connected():
            replies = await asyncio.gather(*map(self._ask, conversations))
        self.counts.update(r.failure for r in replies if r.failure)
        return replies

    @contextlib.asynccontextmanager
    async def _connected(self):
        """Connections live while calls are under way: left open, they outlive their event loop."""
        if not self._calls:
            self._slots = asyncio.Semaphore(self.c.concurrent)
            self._client = openai.AsyncOpenAI(
                api_key=self._key(),
                base_url=self.c.url,
                timeout=self.c.seconds,
                max_retries=0,  # ours count, and retry broken answers too
                http_client=openai.DefaultAsyncHttpxClient(verify=self._trust),
            )
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls:
                client, self._client = self._client, None
                await client.close()

    def _key(self):
        name = self.c.key
        if name and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(
                "key must be the name of an environment variable, never the key itself: export "
                'it and give its name, for instance key = "OPENAI_API_KEY"'
            )
        if name and not os.environ.get(name):
            raise ValueError(
                f"key = {name!r}: no such environment variable is set; export it, or give "
                'key = "" for an endpoint that asks for none'
            )
        return os.environ[name] if name else "none"

    def _hidden(self, text):
        """An endpoint's words without the key, which some repeat; cut to what a person reads."""
        key = os.environ.get(self.c.key, "")
        return (text.replace(key, "[key]") if key else text)[:300]

    async def _ask(self, conversation):
        if any(m.role == "prompt" for m in conversation):
            return _failed("refused", 'an endpoint takes chat roles only, not "prompt"')
        messages = tool_calls.to_openai(conversation)
        async with self._slots:
            for i in range(self.c.tries):
                if self.c.cost_limit and self.cost >= self.c.cost_limit:
                    return _failed("limit", f"cost_limit = {self.c.cost_limit} is reached")
                reply, wait = await self._try(messages)
                if wait is None or i + 1 == self.c.tries:
                    break
                if wait > self.c.longest_wait:
                    more = f"; it asks to wait {wait:.0f} s, longer than longest_wait"
                    return reply._replace(detail=reply.detail + more)
                pause = min(self.c.longest_wait, self.c.wait * 2**i) * random.uniform(0.5, 1)
                await asyncio.sleep(max(wait, pause))
                self.counts["retries"] += 1
        return reply

    async def _try(self, messages):
        """One request -> its Reply, and the seconds to wait before another (None: of no use)."""
        self.counts["requests"] += 1
        try:
            async with asyncio.timeout(self.c.seconds):
                response = await self._client.chat.completions.with_raw_response.create(
                    model=self.c.model,
                    messages=messages,
                    extra_body=dict(self.c.law)
                    | ({"tools": self.about["tools"]} if self.c.tools else {}),
                )
            return self._read(tool_calls.loads(response.http_response.content.decode()), messages)
        except (TimeoutError, openai.APITimeoutError):
            return _failed("timeout", f"no whole answer within seconds = {self.c.seconds}"), 0.0
        except openai.APIStatusError as e:
            return self._status(e)
        except openai.OpenAIError as e:
            return _failed("error", f"{e} ({e.__cause__!r:.200})"), 0.0
        except ValueError as e:  # of the JSON, or of a text that is no Unicode
            return _failed("error", f"request or body cannot be read: {e!s:.200}"), 0.0

    def _status(self, e):
        """The Reply to a status of 400 and more."""
        said = self._hidden(e.message)
        if e.status_code == 429 and e.code != "insufficient_quota":
            return _failed("limit", said), _retry_after(e.response.headers)
        if e.status_code in RETRIED or e.status_code >= 500:
            return _failed("error", said), _retry_after(e.response.headers)
        if e.status_code == 401:
            said += f"; check the key in the environment variable {self.c.key!r}"
        return _failed("limit" if e.status_code == 429 else "refused", said), None

    def _read(self, body, messages):
        """The Reply in the body of a status 200."""
        choice = _first(body)
        message = _object(choice.get("message"))
        usage = _object(_object(body).get("usage"))
        # An endpoint that reports no usage is counted at one token a byte, the most it can be.
        prompt = _count(usage.get("prompt_tokens"), messages)
        new = _count(usage.get("completion_tokens"), message)
        self.counts.update(prompt_tokens=prompt, new_tokens=new)
        text, refusal = message.get("content") or "", message.get("refusal")
        if not message or not isinstance(text, str):
            said = f"the body holds no message: {json.dumps(body)}"
            return _failed("error", self._hidden(said)), 0.0
        if refusal or (choice.get("finish_reason") == "content_filter" and not text):
            return _failed("refused", self._hidden(str(refusal or "content_filter"))), None
        good, bad = tool_calls.sorted_out(tool_calls.from_openai(message.get("tool_calls")))
        return Reply(_whole(text), good, malformed=bad, prompt_tokens=prompt, new_tokens=new), None


def _failed(failure, detail):
    return Reply("", failure=failure, detail=_whole(detail))


def _whole(text):
    """JSON can smuggle halves of surrogate pairs, which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode()


def _object(value):
    return value if isinstance(value, dict) else {}


def _first(body):
    choices = _object(body).get("choices")
    return _object(choices[0]) if isinstance(choices, list) and choices else {}


def _count(reported, what):
    if isinstance(reported, int) and reported >= 0:
        return reported
    return len(json.dumps(what))


def _retry_after(headers):
    """Seconds that an endpoint asks to wait, given as a number or as a date; 0 if it does not."""
    text = headers.get("retry-after", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return seconds if seconds > 0 else 0.0
