"""What a chat model is: a function from conversations to replies.

Judges, simulated users, page readers and policies under evaluation all have this one form: our own
engine, an endpoint over HTTP, or a recorded replay.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from jaxrl.chat.tool_calls import Malformed
from jaxrl.messages import Message, ToolCall

FAILURES = ("error", "timeout", "refused", "limit")  # limit: of rate, or of cost


class Reply(NamedTuple):
    """What came back for one conversation. A failed one has no text and says why."""

    text: str
    calls: tuple[ToolCall, ...] = ()  # where the model was given tools and called some
    failure: str = ""  # "" or one of FAILURES
    detail: str = ""  # of a failure, for a person to read
    prompt_tokens: int = 0
    new_tokens: int = 0
    malformed: tuple[Malformed, ...] = ()  # calls it tried to make: see tool_calls.observation


class ChatModel(Protocol):
    """All conversations of a call may be under way at once; the replies come in their order."""

    async def __call__(self, conversations: Sequence[Sequence[Message]]) -> list[Reply]:
        """One Reply a conversation. What befalls one of them is told in its Reply, never raised."""
