"""What an env is, and two rules all envs share: a task's split, and how a wrong name is refused."""

import difflib
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from jaxrl.messages import Message, ToolCall


class Step(NamedTuple):
    """What the world makes of one action."""

    state: Any
    messages: tuple[Message, ...]  # what the world says back; () if done
    reward: float
    done: bool
    info: dict[str, float]  # metrics only; nothing downstream may branch on it


FAILURES = ("error", "timeout", "crash", "not_a_number")  # error: the env's code raised


class Failure(NamedTuple):
    """What a worker returns in place of a Step when the env's own code gave none."""

    reason: str  # one of FAILURES
    detail: str  # for a person to read


class Env(Protocol):
    """Text in, text out, on the host: no JAX, no tokenizer, no hidden state.

    The state is a value that goes in and comes out and is never changed in place, so a group of G
    samples is one reset used G times, and any step can be replayed, branched, or run in a worker.
    """

    @property
    def stop(self) -> tuple[str, ...]:
        """Strings at which the sampler may end a reply; () where the end token alone does."""

    def __len__(self) -> int: ...
    def reset(self, index: int) -> tuple[Any, tuple[Message, ...]]: ...
    def step(self, state: Any, action: str) -> Step: ...

    def answer(self, state: Any) -> str:
        """The reference answer as a report shows it."""


class ToolEnv(Env, Protocol):
    """An env whose tasks need tools. Its step ends the task and scores the answer."""

    @property
    def tools(self) -> tuple[Callable[..., str], ...]:
        """Functions as tools.tool takes them; a first argument `world` or `state` is hidden."""

    def use(self, state: Any, call: ToolCall) -> tuple[Any, str]:
        """Makes a call, whose arguments fit the tool's schema; what it returned, as text."""

    def solve(self, state: Any) -> Sequence[Message]:
        """What an expert says and is told from the prompt on: rows for fine-tuning."""


def place(text):
    """A text's own number in [0, 1): the same in every process, run and version."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def share_of(text, shares):
    """The name among {name: share of 1} that falls to a text; the last takes what rounding left."""
    at, bound = place(text), 0.0
    for name, share in shares.items():
        bound += share
        if at < bound:
            return name
    return name


def choose(key, value, choices):
    """`value` if it is among `choices`; else a KeyError with key, value and near matches."""
    if value in choices:
        return value
    near = difflib.get_close_matches(str(value), [str(c) for c in choices], n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"one of {sorted(choices)}"
    raise KeyError(f"{key} = {value!r} is not known; {hint}")
