"""One turn of a conversation: what envs, chat models and templates hand each other. No JAX here."""

from typing import Any, NamedTuple


class Tool(NamedTuple):
    """What a model is told of a function it may call. parameters: a JSON schema of an object."""

    name: str
    description: str
    parameters: dict[str, Any]


class ToolCall(NamedTuple):
    """A call as the model asked for it. id: ties a result to its call where an endpoint asks."""

    name: str
    arguments: dict[str, Any]
    id: str = ""


class Message(NamedTuple):
    """`role` is "system", "user", "assistant", "tool", or "prompt": text continued as it is."""

    role: str
    content: str
    calls: tuple[ToolCall, ...] = ()  # of an assistant
    call_id: str = ""  # of a tool: the id of the call it answers
