"""What a judge sees of a trajectory: the query, the steps, the final answer.

    {"step": 1, "reasoning": "…", "tool_calls": [{"name": "poi_search", "arguments": "{…}"}]}

What tools returned is not shown, as in ArenaRL's released code (arXiv:2601.06487). Judged text is
data: it stands between tags, and no character of it can open or close one (`chat.text.fenced`).
Limits cut the middle out and say so; they hold for text as the judge reads it, before escaping.
"""

import dataclasses
import json
from typing import NamedTuple

from jaxrl.chat.text import cut, split
from jaxrl.messages import ToolCall

NO_ANSWER = "[The agent gave no final answer.]"


class Turn(NamedTuple):
    """One assistant step that was not the answer."""

    reasoning: str
    calls: tuple[ToolCall, ...]


class Transcript(NamedTuple):
    """One trajectory as it is judged; answer "": there is none."""

    query: str
    turns: tuple[Turn, ...]
    answer: str


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much of a transcript is shown; characters, but for the last two."""

    query: int = 8_000
    path: int = 40_000  # of all reasoning, names and arguments together: the longest are cut first
    answer: int = 16_000
    turns: int = 64
    calls: int = 16  # of one turn

    def __post_init__(self):
        for key, value in dataclasses.asdict(self).items():
            if type(value) is not int or value < 2:
                raise ValueError(f"Limits.{key}={value!r}: give a whole number of 2 or more")


def of(prompt, messages):
    """The transcript of a conversation: `prompt` as the env gave it, `messages` from then on.

    The query is the prompt's last message of a user. The answer is the last message, if it is an
    assistant's without calls; its thinking is a last step of its own, where the released code drops
    it and would leave a single-turn answer without a path. What a user says later is not shown.
    """
    queries = [m.content for m in prompt if m.role in ("user", "prompt")]
    if not queries:
        roles = [m.role for m in prompt]
        raise ValueError(f"prompt has the roles {roles}: give one with a message of a user")
    spoken = [m for m in messages if m.role == "assistant"]
    answered = bool(spoken) and messages[-1] is spoken[-1] and not spoken[-1].calls
    turns = [Turn(m.content, m.calls) for m in (spoken[:-1] if answered else spoken)]
    thinking, answer = split(spoken[-1].content) if answered else ("", "")
    if thinking:
        turns.append(Turn(thinking, ()))
    return Transcript(queries[-1], tuple(turns), answer)


def path(transcript, limits):
    """The steps as JSON, one a line, in at most limits.path characters of the agent's own."""
    numbered = enumerate(transcript.turns, 1)
    steps = [(number, t.reasoning, _spared(t.calls, limits.calls)) for number, t in numbered]
    shown = _spared(steps, limits.turns)
    texts = [text for step in shown if step for text in _texts(step)]
    most = _share([len(text) for text in texts], limits.path)
    return "\n".join(_line(step, most) for step in shown)


def answer(transcript, limits):
    """The final answer, or the fixed sentence that stands for a missing one."""
    text = transcript.answer
    return cut(text, limits.answer) if text.strip() else NO_ANSWER


def _spared(items, most):
    """The items, or the first and last of them with None where others were left out."""
    if len(items) <= most:
        return list(items)
    return [*items[: most - most // 2], None, *items[len(items) - most // 2 :]]


def _texts(step):
    """All that the agent wrote in a step."""
    _, reasoning, calls = step
    return [reasoning, *(text for c in calls if c for text in (c.name, _arguments(c)))]


def _line(step, most):
    """A step as JSON. Texts are cut before they are encoded: a cut cannot open a string."""
    if step is None:
        return json.dumps({"note": "steps left out"})
    number, reasoning, calls = step
    calls = [_call(c, most) if c else {"note": "calls left out"} for c in calls]
    line = {"step": number, "reasoning": cut(reasoning, most), "tool_calls": calls}
    return json.dumps(line, ensure_ascii=False)


def _call(call, most):
    return {"name": cut(call.name, most), "arguments": cut(_arguments(call), most)}


def _arguments(call):
    try:
        return json.dumps(call.arguments, ensure_ascii=False)
    except RecursionError:  # a parser may have had more of the stack left than there is here
        return "[nested too deeply to be shown]"


def _share(lengths, total):
    """The largest cap c with Σ min(length, c) ≤ total; the longest length where all fits."""
    left = total
    for n, length in zip(range(len(lengths), 0, -1), sorted(lengths), strict=True):
        if length * n > left:
            return left // n
        left -= length
    return max(lengths, default=0)
