"""Whatever a model writes, its calls are read or named as malformed; what we write is read back."""

import json
import random

import pytest

from jaxrl.chat import tool_calls
from jaxrl.chat.tool_calls import Malformed
from jaxrl.messages import Message, Tool, ToolCall

TEA = ToolCall("search", {"query": "tea", "near": {"lat": 1.5, "tags": ["a", "{"]}})
BODY = json.dumps({"name": TEA.name, "arguments": TEA.arguments})

READ = {
    "plain": (f"Hm.\n<tool_call>\n{BODY}\n</tool_call>", "Hm.", (TEA,)),
    "none": ("No call { here }\n", "No call { here }\n", ()),
    "several": (f"<tool_call>{BODY}</tool_call> and <tool_call>{BODY}</tool_call>", "", (TEA, TEA)),
    "unclosed at the end": (f"A\n<tool_call>{BODY}", "A", (TEA,)),
    "unclosed between": (f"<tool_call>{BODY}\n<tool_call>{BODY}</tool_call>", "", (TEA, TEA)),
    "fence inside": (f"<tool_call>\n```json\n{BODY}\n```\n</tool_call>", "", (TEA,)),
    "fence outside": (f"B\n```xml\n<tool_call>{BODY}</tool_call>\n```", "B", (TEA,)),
    "code before": (
        f"```python\nx = 1\n```\n<tool_call>{BODY}",
        "```python\nx = 1\n```",
        (TEA,),
    ),
    "thoughts": (
        f"<think><tool_call>{{}}</tool_call></think>C<tool_call>{BODY}</tool_call>",
        "<think><tool_call>{}</tool_call></think>C",
        (TEA,),
    ),
    "only thoughts": (f"<think>a <tool_call>{BODY}", f"<think>a <tool_call>{BODY}", ()),
    "no arguments": ('<tool_call>{"name": "now"}</tool_call>', "", (ToolCall("now", {}),)),
    "text as arguments": (
        '<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}</tool_call>',
        "",
        (ToolCall("f", {"a": 1}),),
    ),
}


@pytest.mark.parametrize("name", READ)
def test_what_is_read(name):
    """The ways in which models write good calls; a closing tag inside a text ends nothing."""
    text, before, calls = READ[name]
    assert tool_calls.parse(text) == (before, calls)


def test_tags_inside_of_arguments_are_text():
    """A search for "</tool_call>" or "</think>" once cut the call in two."""
    call = ToolCall("search", {"q": '</tool_call><tool_call>{"a": 1}</think>"\n```'})
    assert tool_calls.parse(f"x{tool_calls.write([call, TEA])}") == ("x", (call, TEA))


BAD = {
    "Expecting ',' delimiter at character 13": '{"name": "f" "arguments": {}}',
    "Invalid control character at character": '{"name": "f',
    "one JSON object": "[1, 2]",
    'no "name"': '{"name": 3, "arguments": {}}',
    "must be a JSON object": '{"name": "f", "arguments": [1]}',
    "arguments are no JSON": '{"name": "f", "arguments": "{a"}',
    "text follows": '{"name": "f", "arguments": {}}}',
    "too deep": '{"name": "f", "arguments": ' + '{"a":' * 100_000,
    "deeper than 32": '{"name": "f", "arguments": {"a": ' + "[" * 32 + "1" + "]" * 32 + "}}",
    "longer than 1000000": json.dumps({"name": "f", "arguments": {"a": "x" * 1_000_001}}),
    "not finite": '{"name": "f", "arguments": {"a": NaN}}',
    "beyond 64 bits": '{"name": "f", "arguments": {"a": 1' + "0" * 99 + "}}",
    "number is too long": '{"name": "f", "arguments": {"a": 1' + "0" * 9999 + "}}",
    "surrogate": '{"name": "f", "arguments": {"a": "\\ud800"}}',
    "Expecting value": "",
}


@pytest.mark.parametrize("reason", BAD)
def test_what_is_malformed_and_why(reason):
    """Each becomes an observation that says what is wrong, and the next call is still read."""
    text = f"Hm<tool_call>{BAD[reason]}</tool_call>\n{tool_calls.write([TEA])}"
    before, (bad, good) = tool_calls.parse(text)
    assert before == "Hm" and good == TEA and isinstance(bad, Malformed) and reason in bad.reason
    told = tool_calls.observation(bad)
    assert told.role == "tool" and bad.reason in told.content and len(told.content) < 500


def test_the_number_of_calls_has_a_limit():
    """A reply of 10,000 calls once meant 10,000 searches."""
    calls = tool_calls.parse(tool_calls.write([TEA] * 10_000))[1]
    assert calls[:-1] == (TEA,) * tool_calls.MOST and "make fewer" in calls[-1].reason


class Counted(str):
    """A text that counts the characters searched in it."""

    work = 0

    def find(self, what, start=0):
        end = super().find(what, start)
        Counted.work += (len(self) if end < 0 else end) - start
        return end


class CountedDecoder:
    """A decoder that counts what it can have read: all that follows, where it fails."""

    def raw_decode(self, text, at):
        try:
            value, end = tool_calls.json.JSONDecoder().raw_decode(text, at)
        except ValueError:
            Counted.work += len(text) - at
            raise
        Counted.work += end - at
        return value, end


HOSTILE = ["<tool_call>", '<tool_call>{"', '<tool_call>["', '{"a":', '"\\"', "<tool_call>{}", "```"]


def test_bombs_do_not_reach_the_decoder(monkeypatch):
    """It recurses in C: with a raised recursion limit, 300,000 brackets ended the process."""
    monkeypatch.setattr(tool_calls, "DECODER", None)
    for bomb in ('{"a":' * 300_000, "[" * 300_000 + "]" * 300_000, '{"\\"": [{"[": ' * 100_000):
        (call,) = tool_calls.parse("<tool_call>" + bomb)[1]
        assert "too deep" in call.reason
        (call,) = tool_calls.from_openai([OPENAI | {"function": {"name": "f", "arguments": bomb}}])
        assert "too deep" in call.reason


def test_the_deepest_arguments_are_read():
    """32 levels below the arguments, in either form, and brackets in texts are no levels."""
    value = "[" * 99
    for _ in range(32):
        value = [value]
    call = ToolCall("f", {"a": value[0]})
    assert tool_calls.parse(tool_calls.write([call]))[1] == (call,)
    row = tool_calls.to_openai([Message("assistant", "", (call,))])[0]["tool_calls"]
    assert tool_calls.from_openai(row)[0].arguments == call.arguments
    (deeper,) = tool_calls.parse(tool_calls.write([ToolCall("f", {"a": value})]))[1]
    assert "deeper than 32" in deeper.reason


@pytest.mark.parametrize("piece", HOSTILE)
def test_the_time_is_linear(piece, monkeypatch):
    """Characters searched and decoded, at most 3 a call and character, for texts 1 and 10 long."""
    monkeypatch.setattr(tool_calls, "DECODER", CountedDecoder())
    for repeats in (500, 5_000, 50_000):
        Counted.work, text = 0, Counted("<tool_call>" + piece * repeats)
        tool_calls.parse(text)
        assert 0 < Counted.work <= (3 * tool_calls.MOST + 3) * len(text)


PIECES = [
    "<tool_call>",
    "</tool_call>",
    "<think>",
    "</think>",
    "```json\n",
    "```",
    "{",
    "}",
    "[",
    "]",
]
PIECES += ['"', '"name"', '"arguments"', ":", ",", "\\", "\\u12", "\ud800", "\x00", "é", "1e999"]
PIECES += ["NaN", "-", "9" * 50, " ", "\n", "null", BODY, tool_calls.write([TEA]), '{"name": "f", ']


def value(rng, depth=3):
    """A JSON value; texts are made of the pieces that break parsers."""
    kind = rng.randrange(7 if depth else 5)
    if kind == 5:
        return [value(rng, depth - 1) for _ in range(rng.randrange(4))]
    if kind == 6:
        return {text(rng): value(rng, depth - 1) for _ in range(rng.randrange(4))}
    return (None, rng.random() < 0.5, rng.randrange(-(2**60), 2**60), rng.gauss(0, 1e6), text(rng))[
        kind
    ]


def text(rng):
    """Pieces without the lone surrogate, which no call of ours holds."""
    return "".join(rng.choice(PIECES) for _ in range(rng.randrange(5))).replace("\ud800", "")


def broken(rng):
    """A good reply with a few cuts, swaps and insertions; or pieces alone."""
    made = tool_calls.write([TEA, ToolCall("f", {text(rng): value(rng)})])
    for _ in range(rng.randrange(6)):
        a, b = sorted(rng.randrange(len(made) + 1) for _ in range(2))
        made = rng.choice([made[:a] + made[b:], made[:a] + rng.choice(PIECES) + made[a:], made[:b]])
    return rng.choice([made, "".join(rng.choices(PIECES, k=rng.randrange(60)))])


def fuzz(seed, number):
    """The properties of `parse` and of `write` on `number` inputs."""
    rng = random.Random(seed)
    for _ in range(number):
        said = broken(rng)
        before, calls = tool_calls.parse(said)
        assert said.startswith(before) and len(calls) <= tool_calls.MOST + 1
        for call in calls:
            assert isinstance(call, ToolCall | Malformed)
            fine = tool_calls.observation(call) if isinstance(call, Malformed) else call
            json.dumps(fine, ensure_ascii=False, allow_nan=False).encode()
        tool_calls.from_openai(value(rng))

        made = tuple(ToolCall(f"f{i}", {text(rng): value(rng)}) for i in range(rng.randrange(1, 4)))
        around = (
            rng.choice(["", "Hm.", "<think>a</think>b"]),
            rng.choice(["", "\n", " so", "\n```"]),
        )
        read = tool_calls.parse(around[0] + tool_calls.write(made) + around[1])
        assert read[0] == around[0] and json.dumps(read[1]) == json.dumps(made)
        row = tool_calls.to_openai([Message("assistant", "", made)])[0]["tool_calls"]
        back = [c._replace(id="") for c in tool_calls.from_openai(json.loads(json.dumps(row)))]
        assert json.dumps(back) == json.dumps(made)


def test_fuzz_sample():
    """2,000 of the 100,000: nothing raises, all is printable, every good call comes back whole."""
    fuzz(0, 2_000)


@pytest.mark.slow
def test_fuzz():
    """The whole: `bash launch/test.sh --slow tests/chat`."""
    for seed in range(1, 11):
        fuzz(seed, 10_000)


OPENAI = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


def test_the_openai_form():
    """Arguments are a JSON text; ids tie a malformed call to its observation too."""
    assert tool_calls.from_openai([OPENAI]) == (ToolCall("f", {"a": 1}, "c1"),)
    for bad in ("{a", "[1]", "1" * 9999):
        call = OPENAI | {"function": {"name": "f", "arguments": bad}}
        (read,) = tool_calls.from_openai([call])
        assert isinstance(read, Malformed) and tool_calls.observation(read).call_id == "c1"
    no_arguments = OPENAI | {"function": {"name": "f", "arguments": ""}}
    assert tool_calls.from_openai([no_arguments]) == (ToolCall("f", {}, "c1"),)
    for odd in (None, [], {}, "x", [None], [{"id": 3}], [{"function": "f"}], 7):
        assert all(isinstance(c, Malformed) for c in tool_calls.from_openai(odd))
    assert len(tool_calls.from_openai([OPENAI] * 1000)) == tool_calls.MOST + 1


def test_conversations_for_endpoints_have_ids():
    """An endpoint refuses a result whose call it cannot find; ours often carry no id."""
    two = Message("assistant", "hm", (ToolCall("f", {"é": 1}), ToolCall("g", {}, "own")))
    lost = tool_calls.observation(Malformed("why", "how", "gone"))
    talk = [Message("user", "a"), two, Message("tool", "1"), Message("tool", "2", call_id="own")]
    rows = tool_calls.to_openai([*talk, lost, two._replace(content=""), Message("tool", "3")])
    assert [c["id"] for c in rows[1]["tool_calls"]] == ["call_0", "own"]
    assert rows[1]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"é": 1}'}
    assert [r.get("tool_call_id") for r in rows[2:4]] == ["call_0", "own"]
    assert rows[4]["role"] == "user" and "why" in rows[4]["content"]
    assert rows[6]["tool_call_id"] == rows[5]["tool_calls"][0]["id"] == "call_2"


def test_a_conversation_as_text():
    """Where a template knows no tools: they stand in the system text, results in one user turn."""
    tool = Tool("f", "Does.", {"type": "object"})
    talk = [Message("user", "a"), Message("assistant", "hm", (TEA,))]
    talk += [Message("tool", "1"), Message("tool", "2"), Message("user", "b")]
    rows = tool_calls.introduced(tool_calls.written(talk), [tool])
    assert [m.role for m in rows] == ["system", "user", "assistant", "user", "user"]
    assert json.dumps(tool_calls.signature(tool)) in rows[0].content
    assert tool_calls.parse(rows[2].content) == ("hm", (TEA,)) and not rows[2].calls
    one, two = "<tool_response>\n1\n</tool_response>", "<tool_response>\n2\n</tool_response>"
    assert rows[3].content == f"{one}\n{two}"
    kind = tool_calls.introduced([Message("system", "Be kind."), *talk], [tool])
    assert len(kind) == len(talk) + 1 and kind[0].content.startswith("Be kind.\n\n# Tools")
