"""One turn of a conversation: what envs, chat models and templates hand each other. No JAX here."""

from typing import NamedTuple


class Message(NamedTuple):
    """`role` is "system", "user", "assistant", "tool", or "prompt": text continued as it is."""

    role: str
    content: str
