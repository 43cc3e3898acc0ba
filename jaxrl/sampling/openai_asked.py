"""What a client of OpenAI's chat completions asks for: a body, checked and read. No HTTP here.

Nothing in a body is ignored silently but what tells no one how to answer (IGNORED). What is wrong
is a ToolError with its key. Images, audio, `logit_bias` and penalties are left out.
"""

import secrets
from typing import Any, NamedTuple

from jaxrl.chat import tool_calls
from jaxrl.messages import Message, Tool
from jaxrl.ops.distributions import Law
from jaxrl.sampling import local
from jaxrl.tools import ToolError, checked

MOST = 16  # answers to one request, and stop strings
COLDEST = 1e-4  # temperatures below divide logits beyond float32: they are greedy
IGNORED = {"user", "metadata", "store", "service_tier", "parallel_tool_calls", "safety_identifier"}
ROLES = {"developer": "system"} | {r: r for r in ("system", "user", "assistant", "tool")}

_count = {"type": "integer", "minimum": 1}
_message = {"type": "object", "required": ["role"], "properties": {"role": {"enum": [*ROLES]}}}
_function = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string"},
        "description": {"type": "string"},
        "parameters": {"type": "object"},
    },
}
_tool = {
    "type": "object",
    "required": ["type", "function"],
    "properties": {"type": {"enum": ["function"]}, "function": _function},
}
_stop = {"type": "string", "maxLength": 100}
_stops = {"type": "array", "items": _stop, "maxItems": MOST}
BODY = Tool(
    "body",
    "What a client may send.",
    {
        "type": "object",
        "required": ["model", "messages"],
        "additionalProperties": False,
        "properties": {
            "model": {"type": "string"},
            "messages": {"type": "array", "minItems": 1, "items": _message},
            "temperature": {"type": "number", "minimum": 0, "maximum": 2},
            "top_p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "top_k": {"type": "integer", "minimum": 0},
            "max_tokens": _count,
            "max_completion_tokens": _count,
            "n": _count | {"maximum": MOST},
            "seed": {"type": "integer"},
            "stop": {"anyOf": [_stop, _stops]},
            "stream": {"type": "boolean"},
            "stream_options": {
                "type": "object",
                "additionalProperties": False,
                "properties": {"include_usage": {"type": "boolean"}},
            },
            "logprobs": {"type": "boolean"},
            "tools": {"type": "array", "items": _tool},
            "tool_choice": {"enum": ["auto", "none"]},
            "presence_penalty": {"enum": [0]},
            "frequency_penalty": {"enum": [0]},
            "response_format": {
                "type": "object",
                "required": ["type"],
                "properties": {
                    "type": {"enum": ["text", "json_object", "json_schema"]},
                    "json_schema": {
                        "type": "object",
                        "required": ["schema"],
                        "properties": {"schema": {"type": "object"}},
                    },
                },
            },
            **{name: {} for name in IGNORED},
        },
    },
)


class Asked(NamedTuple):
    """What a body asks for."""

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    law: Law
    stop: tuple[str, ...]
    constraint: dict[str, Any] | None
    max_new: int | None  # None: as many as there is room for
    seed: int | None  # None: each time others
    n: int
    stream: bool
    usage: bool  # at the end of a stream
    logprobs: bool


def read(body):
    """A parsed JSON body -> Asked, or a ToolError. null counts as absent."""
    if not isinstance(body, dict):
        raise ToolError("body", body, "give a JSON object")
    body = checked(BODY, {key: value for key, value in body.items() if value is not None})
    stop, temperature = body.get("stop", []), body.get("temperature", 1.0)
    stream, logprobs = body.get("stream", False), body.get("logprobs", False)
    if logprobs and stream:
        raise ToolError("logprobs", True, "they come with whole answers only: leave out stream")
    stop = (stop,) if isinstance(stop, str) else tuple(stop)
    if not all(stop):
        raise ToolError("stop", "", "an empty string stops everything; drop it")
    tools = [tool["function"] for tool in body.get("tools", [])]
    tools = tools if body.get("tool_choice", "auto") == "auto" else []
    constraint = _constraint(body.get("response_format", {"type": "text"}))
    if constraint is not None and tools:
        raise ToolError("response_format", constraint, "a call is no such JSON: leave out tools")
    return Asked(
        model=body["model"],
        messages=tuple(_message_of(i, m) for i, m in enumerate(body["messages"])),
        tools=tuple(map(_tool_of, tools)),
        law=Law(
            temperature if temperature >= COLDEST else 0.0,
            body.get("top_k", 0),
            body.get("top_p", 1.0),
        ),
        stop=stop,
        constraint=constraint,
        max_new=body.get("max_completion_tokens", body.get("max_tokens")),
        seed=body.get("seed"),
        n=body.get("n", 1),
        stream=stream,
        usage=body.get("stream_options", {}).get("include_usage", False),
        logprobs=logprobs,
    )


def _constraint(form):
    """The JSON schema of a response_format; None: any text."""
    if form["type"] == "text":
        return None
    if form["type"] == "json_object":
        return {"type": "object"}
    if "json_schema" not in form:
        raise ToolError("response_format.json_schema", None, 'give {"name": …, "schema": {…}}')
    return form["json_schema"]["schema"]


def _message_of(i, message):
    where = f"messages.{i}"
    text = _text(f"{where}.content", message.get("content"))
    calls, bad = tool_calls.sorted_out(tool_calls.from_openai(message.get("tool_calls")))
    if bad:
        raise ToolError(f"{where}.tool_calls", bad[0].excerpt, bad[0].reason)
    call_id = message.get("tool_call_id") or ""
    if not isinstance(call_id, str):
        raise ToolError(f"{where}.tool_call_id", call_id, "give a string")
    return Message(ROLES[message["role"]], text, calls, call_id)


def _text(where, content):
    """A content's text: a string, null, or a list of text parts."""
    if content is None or isinstance(content, str):
        return content or ""
    parts = content if isinstance(content, list) else [content]
    texts = [part["text"] for part in parts if _is_text(part)]
    if len(texts) < len(parts):
        raise ToolError(where, content, 'give a string, or parts {"type": "text", "text": …}')
    return "".join(texts)


def _is_text(part):
    form = isinstance(part, dict) and part.get("type") == "text"
    return form and isinstance(part.get("text"), str)


def _tool_of(function):
    parameters = function.get("parameters", {"type": "object", "properties": {}})
    return Tool(function["name"], function.get("description", ""), parameters)


def seeds(asked, tokens):
    """A seed for each answer: of the one asked for, or new ones."""
    first = secrets.randbits(31) if asked.seed is None else asked.seed
    return [local.own_seed(first, tokens, i) for i in range(asked.n)]
