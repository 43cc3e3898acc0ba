"""The tools of an MCP server: listed as Tools, called with checked arguments.

    there = mcp.StdioServerParameters(command="python", args=["server.py"])
    async with connected(there) as server:                 # or the address of one over HTTP
        server.tools                                       # for a template or an endpoint
        await server.call(ToolCall("add", {"a": 1}))       # a Message of role "tool"

A server is told a model's arguments and nothing else: its wishes to sample, to ask a person or to
read folders find no callback. What it starts ends with the `async with`.
"""

import collections
import contextlib
import json
import urllib.parse

import jsonschema
import mcp

from jaxrl import tools
from jaxrl.messages import Message, Tool

START_SECONDS = 60.0  # for a server to start and to list its tools
PAGES = 100  # of that list


class Server:
    """A connected MCP server. counts: calls, refused (by us), failed (there), timeouts."""

    def __init__(self, client, listed, seconds, longest):
        self.tools = listed
        self.counts = collections.Counter()
        self._client, self._seconds, self._longest = client, seconds, longest
        self._named = {t.name: t for t in listed}

    async def call(self, call):
        """The tool's result, or what went wrong, as the Message that answers the call."""
        self.counts["calls"] += 1
        text = await self._result(call)
        if len(text) > self._longest:
            text = f"{text[: self._longest]}\n[cut: {len(text)} characters in all]"
        return Message("tool", text, call_id=call.id)

    async def _result(self, call):
        if call.name not in self._named:
            self.counts["refused"] += 1
            return f"There is no tool {call.name[:80]!r}; there are {sorted(self._named)}"
        try:
            arguments = tools.checked(self._named[call.name], call.arguments)
            result = await self._client.call_tool(call.name, arguments, self._seconds)
        except tools.ToolError as e:
            self.counts["refused"] += 1
            return f"{call.name} was not called: {e}"
        except (TimeoutError, mcp.MCPError) as e:
            late = isinstance(e, TimeoutError) or e.code == mcp.types.REQUEST_TIMEOUT
            self.counts["timeouts" if late else "failed"] += 1
            return f"{call.name} failed: {f'no result after {self._seconds} s' if late else e}"
        except (ValueError, RuntimeError) as e:  # the result is not as announced
            self.counts["failed"] += 1
            return f"{call.name} failed: its result breaks the protocol ({e!s:.200})"
        self.counts["failed"] += result.is_error
        return _text(result)


@contextlib.asynccontextmanager
async def connected(where, *, seconds=30.0, longest=100_000):
    """A Server while the block runs. where: mcp.StdioServerParameters, or an address as text.

    seconds: limit of a call; longest: characters of a result that a model gets to see.
    """
    name = _name(where)
    trouble = None
    async with contextlib.AsyncExitStack() as stack:
        try:
            client = mcp.Client(where, read_timeout_seconds=START_SECONDS)
            await stack.enter_async_context(client)
            found = await _listed(client)
        except (OSError, mcp.MCPError, TimeoutError, ExceptionGroup) as e:
            raise RuntimeError(f"MCP server {name} did not start: {_first(e)}") from e
        try:
            yield Server(client, _valid(found, name), seconds, longest)
        except Exception as e:  # left here, the client's task groups would wrap it
            trouble = e
    if trouble is not None:
        raise trouble


def _name(where):
    """A server in an error: no more of its address or command than holds no secret."""
    if isinstance(where, str):
        return repr(urllib.parse.urlsplit(where).hostname)
    return repr(" ".join([where.command, *where.args[:1]]))


def _first(error):
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


async def _listed(client):
    found, cursor = [], None
    for _ in range(PAGES):
        page = await client.list_tools(cursor=cursor)
        found += [Tool(t.name, t.description or "", t.input_schema) for t in page.tools]
        cursor = page.next_cursor
        if cursor is None:
            break
    return tuple(found)


def _valid(found, name):
    """The tools, if their schemas are such; else a ValueError before anything is called."""
    for tool in found:
        try:
            jsonschema.Draft202012Validator.check_schema(tool.parameters)
        except jsonschema.SchemaError as e:
            raise ValueError(
                f"tool {tool.name!r} of MCP server {name} has no valid schema: {e.message[:200]}; "
                "mend it there"
            ) from None
    return found


def _text(result):
    """A result as a model reads it; what is no text is named."""
    parts = [b.text if b.type == "text" else f"[{b.type}]" for b in result.content]
    if not parts and result.structured_content is not None:
        parts = [json.dumps(result.structured_content, ensure_ascii=False)]
    text = "\n".join(parts)
    return f"Error: {text}" if result.is_error else text
