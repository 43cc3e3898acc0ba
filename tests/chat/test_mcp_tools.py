"""Against a real server in a process of its own: results, refusals, and a server that dies."""

import asyncio
import sys
import types
from pathlib import Path

import mcp
import pytest

from jaxrl.chat import mcp_tools
from jaxrl.chat.mcp_tools import connected
from jaxrl.messages import Tool, ToolCall

SERVER = Path(__file__).with_name("tiny_mcp_server.py")


STARTED = mcp.StdioServerParameters(command=sys.executable, args=[str(SERVER)])


def talk(*calls, **how):
    """(the server, the messages that answered) of calls made one after another."""

    async def go():
        async with connected(STARTED, **how) as server:
            return server, [await server.call(call) for call in calls]

    return asyncio.run(go())


def test_tools_are_listed_and_called(monkeypatch):
    """Good calls, wrong ones, a tool's own error and what is no text; the key stays at home."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    server, told = talk(
        ToolCall("add", {"a": 2.0, "b": 40}, "c1"),
        ToolCall("add", {"a": "2"}),
        ToolCall("add", {}),
        ToolCall("subtract", {}),
        ToolCall("fail", {}),
        ToolCall("picture", {}),
        ToolCall("echo", {"text": "é" * 3000}),
        ToolCall("secrets", {}),
        longest=2000,
    )
    (add, *_) = server.tools
    assert (add.name, add.description) == ("add", "Adds two numbers.")
    assert add.parameters["properties"]["a"]["type"] == "integer"
    assert {m.role for m in told} == {"tool"} and told[0].call_id == "c1"
    texts = [m.content for m in told]
    assert texts[0] == "42"
    assert "add was not called: a = '2': give an integer" in texts[1]
    assert "a = None: it is missing" in texts[2]
    assert "no tool 'subtract'; there are ['add'" in texts[3]
    assert texts[4].startswith("Error: ") and "fail" in texts[4]
    assert texts[5] == "[image]"
    assert texts[6].startswith("é" * 2000 + "\n[cut: 3000") and len(texts[6]) < 2050
    assert "PATH" in texts[7] and "OPENAI_API_KEY" not in texts[7]
    assert server.counts == {"calls": 8, "refused": 3, "failed": 1}


def test_what_goes_wrong_is_told_or_passed_on():
    """A tool that hangs and a server that dies are told in words; an error of the caller's own
    stays as it is, though the client's task groups wrap what passes through them."""
    told = []

    async def go():
        async with connected(STARTED, seconds=1.0) as server:
            for name in ("sleep", "die", "picture"):
                told.append((await server.call(ToolCall(name, {}))).content)
            assert server.counts["timeouts"] >= 1 and server.counts["failed"] >= 1
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(go())
    assert told[0] == "sleep failed: no result after 1.0 s"
    assert told[1].startswith("die failed: ") and told[2].startswith("picture failed: ")


@pytest.mark.parametrize(
    "command, arguments, words",
    [
        (sys.executable, ["-c", "1"], "-c' did not start: Connection closed"),
        ("no-such-program", [], "'no-such-program' did not start: .*No such file"),
    ],
)
def test_a_server_that_does_not_start_is_an_error(command, arguments, words):
    """Before a run begins, not at its first call."""
    broken = connected(mcp.StdioServerParameters(command=command, args=arguments))
    with pytest.raises(RuntimeError, match=words):
        asyncio.run(broken.__aenter__())


class Paged:
    """A client whose server lists its tools on three pages."""

    async def list_tools(self, cursor):
        page = int(cursor or 0)
        tool = types.SimpleNamespace(name=f"t{page}", description=None, input_schema={})
        following = str(page + 1) if page < 2 else None
        return types.SimpleNamespace(tools=[tool], next_cursor=following)


def test_all_pages_of_the_list_are_read_and_bad_schemas_refused():
    """A server with 100 tools lists some of them at a time."""
    assert [t.name for t in asyncio.run(mcp_tools._listed(Paged()))] == ["t0", "t1", "t2"]
    with pytest.raises(ValueError, match="tool 'f' of MCP server x has no valid schema: 'odd'"):
        mcp_tools._valid((Tool("f", "", {"type": "odd"}),), "x")
