"""What a client of OpenAI's chat completions is answered: our jobs as JSON, whole or in events."""

import json
import secrets
import time

from jaxrl.chat import tool_calls
from jaxrl.messages import Message
from jaxrl.sampling import local


def about(name):
    """(id, what every part of an answer says of it)."""
    made = f"chatcmpl-{secrets.token_hex(12)}"
    return {"id": made, "created": int(time.time()), "model": name}


def completion(head, asked, jobs, tokenizer):
    """The whole answer."""
    choices = [_choice(i, asked, job, tokenizer) for i, job in enumerate(jobs)]
    return head | {"object": "chat.completion", "choices": choices, "usage": usage(jobs)}


def _choice(i, asked, job, tokenizer):
    text, calls, finish = ending(asked, job, tokenizer)
    message = {"role": "assistant", "content": text} | ({"tool_calls": calls} if calls else {})
    logprobs = {"content": _logprobs(job, tokenizer)} if asked.logprobs else None
    return {"index": i, "message": message, "finish_reason": finish, "logprobs": logprobs}


def ending(asked, job, tokenizer):
    """(text, tool calls as OpenAI writes them, finish_reason) of a job that is over."""
    text = local.said(tokenizer, job.tokens, asked.stop)
    finish = job.ending
    if not asked.tools:
        return text, [], finish
    before, calls = tool_calls.parse(text)
    good, bad = tool_calls.sorted_out(calls)
    if bad or not good:  # the client sees what the model wrote, and can tell it so
        return text, [], finish
    named = [call._replace(id=f"call_{secrets.token_hex(8)}") for call in good]
    written = tool_calls.to_openai([Message("assistant", before, tuple(named))])
    return before, written[0]["tool_calls"], "tool_calls"


def _logprobs(job, tokenizer):
    """Of softmax(logits / temperature), nothing cut off."""
    known = tokenizer.token_bytes()
    raw = [known[i] if i < len(known) else b"" for i in job.tokens]
    return [
        {"token": text, "logprob": logp, "bytes": list(of), "top_logprobs": []}
        for text, logp, of in zip(tokenizer.pieces(job.tokens), job.full_logp, raw, strict=True)
    ]


def usage(jobs):
    """Tokens of one prompt and of all its answers; cached: of the prompt, not computed again."""
    prompt, new = len(jobs[0].request.tokens), sum(len(job.tokens) for job in jobs)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": new,
        "total_tokens": prompt + new,
        "prompt_tokens_details": {"cached_tokens": min(job.found for job in jobs)},
    }


def chunk(head, i, delta, finish=None):
    """A piece of the i-th answer, as an event of a stream."""
    choice = {"index": i, "delta": delta, "finish_reason": finish, "logprobs": None}
    return event(head | {"object": "chat.completion.chunk", "choices": [choice]})


def total(head, jobs):
    """The event that tells the tokens of all answers of a stream."""
    told = {"object": "chat.completion.chunk", "choices": [], "usage": usage(jobs)}
    return event(head | told)


def event(value):
    """A server-sent event."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def error(message, *, kind="invalid_request_error", param=None, code=None):
    """The body of an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


class Speaker:
    """An answer as (delta, finish_reason) while it is drawn: text that no later token can change.

    With tools nothing is said before the end: the first letters of a call look like text.
    """

    def __init__(self, asked, tokenizer):
        self._asked, self._tokenizer, self._tokens, self._said = asked, tokenizer, [], 0

    def hear(self, tokens):
        """What is certain after these tokens."""
        self._tokens += tokens
        if not self._asked.tools:
            text = local.said(self._tokenizer, self._tokens, self._asked.stop)
            text = text.rstrip("\N{REPLACEMENT CHARACTER}")  # a character's last bytes are to come
            yield from self._new(text[: len(text) - _hanging(text, self._asked.stop)])

    def end(self, job):
        """What is left of an answer that is over."""
        text, calls, finish = ending(self._asked, job, self._tokenizer)
        yield from self._new(text)
        if calls:
            yield {"tool_calls": [{"index": k} | call for k, call in enumerate(calls)]}, None
        yield {}, finish

    def _new(self, text):
        if text[self._said :]:
            yield {"content": text[self._said :]}, None
            self._said = len(text)


def _hanging(text, stops):
    """Length of the longest end of the text that a stop string begins with."""
    lengths = (n for stop in stops for n in range(len(stop) - 1, 0, -1) if text.endswith(stop[:n]))
    return max(lengths, default=0)
