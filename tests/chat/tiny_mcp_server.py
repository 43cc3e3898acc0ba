"""A real MCP server over stdio, some of whose tools misbehave."""

import os
import time

from mcp.server import MCPServer
from mcp_types import ImageContent

server = MCPServer("tiny")


@server.tool()
def add(a: int, b: int = 1) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def echo(text: str) -> str:
    """Says it again."""
    return text


@server.tool()
def secrets() -> str:
    """What of the parent's environment arrives."""
    return ",".join(sorted(os.environ))


@server.tool()
def fail() -> str:
    """Raises."""
    raise ValueError("no such city")


@server.tool()
def picture() -> list[ImageContent]:
    """No text."""
    return [ImageContent(type="image", data="AAAA", mime_type="image/png")]


@server.tool()
def sleep() -> str:
    """Takes longer than anyone waits."""
    time.sleep(20)
    return "late"


@server.tool()
def die() -> str:
    """Ends the server."""
    os._exit(3)


if __name__ == "__main__":
    server.run("stdio")
