"""What the engine is asked, and what became of it."""

import dataclasses
from typing import Any

from jaxrl.models import rotary
from jaxrl.ops import distributions


@dataclasses.dataclass(frozen=True)
class Request:
    """Tokens to go on from. seed: requests of equal seed and tokens draw the same."""

    tokens: tuple[int, ...]
    max_new: int
    law: distributions.Law = dataclasses.field(default_factory=distributions.Law)
    stop: tuple[str, ...] = ()
    seed: int = 0
    constraint: tuple[str, ...] | dict[str, Any] | None = None  # texts to choose from, or a schema


@dataclasses.dataclass(eq=False)
class Job:
    """A request under way, and in the end what became of it."""

    request: Request
    tokens: list[int] = dataclasses.field(default_factory=list)  # drawn, the stop token included
    logp: list[float] = dataclasses.field(default_factory=list)  # of the law
    full_logp: list[float] = dataclasses.field(default_factory=list)
    ending: str = ""  # "stop", "length", "cancelled", "broken" (its constraint); "" = under way
    prefilled: int = 0  # tokens whose keys and values were computed before drawing
    found: int = 0  # tokens whose keys and values lay in pages already
    table: list[int] = dataclasses.field(default_factory=list)
    written: int = 0
    watch: Any = None  # stops.Watch
    matcher: Any = None  # constraints.Matcher

    @property
    def whole(self):
        """All its tokens so far; of the last of them no key is written yet."""
        return [*self.request.tokens, *self.tokens]


def check(request, model, room):
    """A ValueError for what could never be served, or would break the programs of all.

    room: tokens that all pages hold.
    """
    if not request.tokens or request.max_new < 1:
        raise ValueError(
            f"a request of {len(request.tokens)} tokens, max_new={request.max_new}: "
            "give at least one of each"
        )
    wrong = [i for i in request.tokens if not 0 <= i < model.V]
    if wrong:
        raise ValueError(
            f"tokens {wrong[:3]} are outside the vocabulary of {model.V}: give its ids"
        )
    if not 0 <= request.seed < 2**31:
        raise ValueError(f"seed={request.seed}: give a whole number from 0 to 2³¹ − 1")
    length = len(request.tokens) + request.max_new
    rotary.check_length(model, length, "a request's tokens and max_new", "shorten it")
    if length > room:
        raise ValueError(
            f"a request of {length} tokens with what it may draw: engine.pages × engine.page hold "
            f"{room}; give more pages or shorten it"
        )
