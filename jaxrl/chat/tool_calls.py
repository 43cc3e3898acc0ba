"""Calls of tools in a model's text, and back: the Hermes form (Qwen) and the OpenAI form.

    Let me look.
    <tool_call>
    {"name": "poi_search", "arguments": {"query": "tea"}}
    </tool_call>

is `parse`d to ("Let me look.", (ToolCall("poi_search", {"query": "tea"}),)). What cannot be read
becomes a Malformed in its place, and `observation` tells the model so; nothing here raises on what
a model wrote. The JSON decoder runs once a call and there are at most MOST of them, so the time is
linear in the text.
"""

import json
import re
from typing import NamedTuple

from jaxrl import tools as limits
from jaxrl.messages import Message, ToolCall

OPEN, CLOSE = "<tool_call>", "</tool_call>"
MOST = 32  # calls in one reply
FENCE = re.compile(r"\s*(?:```\w*\s*)?")  # before and after the JSON of a call
DECODER = json.JSONDecoder()
NESTING = re.compile(
    r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL
)  # a string, or a bracket outside of any
INTRODUCTION = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{signatures}
</tools>

For each function call, return a json object with function name and arguments within \
<tool_call></tool_call> XML tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""


class Malformed(NamedTuple):
    """A call that could not be read: why, and how it began. id: as an endpoint gave it."""

    reason: str
    excerpt: str
    id: str = ""


def parse(text):
    """A reply -> (the text before its first call, its calls: a ToolCall or Malformed each).

    Calls inside thoughts (<think> … </think>) are not made. A last call may lack its closing tag.
    """
    at = text.find(OPEN, _after_thoughts(text))
    if at < 0:
        return text, ()
    before, calls = _unfenced(text[:at]), []
    while at >= 0 and len(calls) < MOST:
        call, end = _read(text, at + len(OPEN))
        calls.append(call)
        at = text.find(OPEN, end)
    if at >= 0:
        calls.append(
            _malformed(f"more than {MOST} calls in one reply: make fewer", text[at : at + 200])
        )
    return before, tuple(calls)


def _after_thoughts(text):
    if not text[:100].lstrip().startswith("<think>"):
        return 0
    end = text.find("</think>")
    return len(text) if end < 0 else end


def _unfenced(text):
    """The text before a call, without the code fence that was opened for the call."""
    head, _, last = text.rpartition("```")
    opened = text.count("```") % 2 == 1 and re.fullmatch(r"\w*\s*", last)
    return (head if opened else text).rstrip()


def _read(text, at):
    """The call whose opening tag ends at `at`, and where it ends."""
    at = FENCE.match(text, at).end()
    try:
        value, end = decode(text, at)
    except ValueError as e:
        ends = [x for x in (text.find(CLOSE, at), text.find(OPEN, at)) if x >= 0]
        end = min(ends, default=len(text))
        return _malformed(f"its JSON cannot be read: {_trouble(e, at)}", text[at:end]), end
    after = FENCE.match(text, end).end()
    if after < len(text) and not text.startswith((CLOSE, OPEN), after):
        reason = "text follows its JSON object: close the call there"
        return _malformed(reason, text[at : at + 200]), end
    return _call(value), after


def decode(text, at):
    """The JSON value that starts at `at`, and where it ends; a ValueError if there is none.

    The depth is counted first: json's decoder recurses in C, and where someone has raised Python's
    recursion limit, a reply of brackets ends the process.
    """
    depth = 0
    for token in NESTING.finditer(text, at):
        bracket = text[token.start()]
        depth += (bracket in "[{") - (bracket in "]}")
        if depth > limits.DEEPEST + 2:  # arguments stand in a call
            raise json.JSONDecodeError("it is nested too deep", text, token.start())
        if depth <= 0:
            break
    return DECODER.raw_decode(text, at)


def loads(text):
    """The JSON value that is the whole of a text; a ValueError if it is none."""
    text = text.strip()
    value, end = decode(text, 0)
    if end < len(text):
        raise json.JSONDecodeError("something follows it", text, end)
    return value


def _trouble(error, start):
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg.removesuffix(' at')} at character {error.pos - start}"
    return "a number is too long"


def _call(value, id=""):
    """{"name": …, "arguments": … or its JSON as a text} -> ToolCall or Malformed."""
    if not isinstance(value, dict):
        return _malformed('it must be one JSON object with "name" and "arguments"', value, id)
    name, arguments = value.get("name"), value.get("arguments")
    if not isinstance(name, str) or not name or limits.unfit(name):
        return _malformed('it has no "name": give the tool\'s name as a text', value, id)
    if isinstance(arguments, str) and arguments.strip():
        try:
            arguments = loads(arguments)
        except ValueError as e:
            return _malformed(f"its arguments are no JSON: {_trouble(e, 0)}", arguments, id)
    if arguments is None or arguments == "":  # tools without parameters are called so
        arguments = {}
    if not isinstance(arguments, dict):
        return _malformed("its arguments must be a JSON object", value, id)
    trouble = limits.unfit(arguments)
    if trouble:
        return _malformed(f"its arguments: {trouble}", value, id)
    return ToolCall(name, arguments, id)


def _malformed(reason, start, id=""):
    start = start if isinstance(start, str) else limits.SHORT.repr(start)
    return Malformed(reason, start[:200].encode("utf-8", "replace").decode(), id)


def observation(call):
    """What the model that wrote a Malformed call is told."""
    text = f"This call could not be read: {call.reason}. It began with: {call.excerpt}"
    return Message("tool", text, call_id=call.id)


def write(calls):
    """Calls in the Hermes form, as Qwen's templates write them."""
    bodies = [{"name": c.name, "arguments": c.arguments} for c in calls]
    return "\n".join(f"{OPEN}\n{json.dumps(b, ensure_ascii=False)}\n{CLOSE}" for b in bodies)


def signature(tool):
    """A tool as templates and endpoints are told of it."""
    return {"type": "function", "function": tool._asdict()}


def introduced(messages, tools):
    """The conversation with the tools listed in its system text: for templates without tools."""
    listed = "\n".join(json.dumps(signature(t), ensure_ascii=False) for t in tools)
    text = INTRODUCTION.format(signatures=listed)
    if messages and messages[0].role == "system":
        first = Message("system", f"{messages[0].content}\n\n{text}")
        return [first, *messages[1:]]
    return [Message("system", text), *messages]


def written(messages):
    """The conversation with calls and results as text: for templates without tools."""
    out = []
    for i, m in enumerate(messages):
        if m.calls:
            out.append(Message(m.role, "\n".join(filter(None, (m.content, write(m.calls))))))
        elif m.role == "tool":
            result = f"<tool_response>\n{m.content}\n</tool_response>"
            if i and messages[i - 1].role == "tool":
                result = f"{out.pop().content}\n{result}"
            out.append(Message("user", result))
        else:
            out.append(m)
    return out


def for_template(message):
    """A message as the dict that chat templates read."""
    made = {"role": message.role, "content": message.content}
    if message.calls:
        made["tool_calls"] = [
            {"type": "function", "function": {"name": c.name, "arguments": c.arguments}}
            for c in message.calls
        ]
    return made


def from_openai(calls):
    """An endpoint's `tool_calls` -> ToolCall or Malformed each; any JSON value is survived."""
    if not calls:
        return ()
    if not isinstance(calls, list):
        return (_malformed("tool_calls must be a list", calls),)
    made = [_from_openai(c) for c in calls[:MOST]]
    if len(calls) > MOST:
        made.append(_malformed(f"more than {MOST} calls in one reply: make fewer", calls[MOST]))
    return tuple(made)


def _from_openai(call):
    id = call.get("id") if isinstance(call, dict) else ""
    id = id if isinstance(id, str) and not limits.unfit(id) else ""
    if not isinstance(call, dict) or not isinstance(call.get("function"), dict):
        return _malformed('it must be an object with a "function"', call, id)
    return _call(call["function"], id)


def sorted_out(calls):
    """(the ToolCalls, the Malformed ones) of what was read."""
    good = tuple(c for c in calls if not isinstance(c, Malformed))
    return good, tuple(c for c in calls if isinstance(c, Malformed))


def to_openai(messages):
    """A conversation as an endpoint takes it. Calls without an id get one, and so do their results.

    A result that answers no call, as the observation of a Malformed, is written as the user's.
    """
    out, waiting, made = [], [], 0
    for m in messages:
        row = {"role": m.role, "content": m.content}
        if m.calls:
            ids = [c.id or f"call_{made + i}" for i, c in enumerate(m.calls)]
            made += len(ids)
            waiting = list(ids)
            row["tool_calls"] = [_to_openai(*pair) for pair in zip(m.calls, ids, strict=True)]
        elif m.role == "tool":
            id = m.call_id or (waiting[0] if waiting else "")
            if id in waiting:
                waiting.remove(id)
                row["tool_call_id"] = id
            else:
                row["role"] = "user"
        out.append(row)
    return out


def _to_openai(call, id):
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return {
        "id": id,
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }
