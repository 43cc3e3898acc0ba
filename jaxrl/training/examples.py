"""Text files -> token examples of supervised fine-tuning, and those -> learner rows.

    {"messages": [...]}              the chat template; every turn of the assistant is in the loss
    {"messages": [...], "tools": [...]}   the same with calls of tools, in OpenAI's form
    {"prompt": ..., "response": ...} verbatim text; the response is in the loss

What the assistant says is encoded by itself, behind the header that the sampler would also see, and
the token that ends its turn is in the loss. Where a template changes earlier turns (Qwen3 drops
their thoughts) they stay as written, as they do in rollouts.
"""

import dataclasses
import itertools
from pathlib import Path

import grain
import numpy as np

from jaxrl.chat import templates, tool_calls
from jaxrl.data import packing, sources
from jaxrl.messages import Message, Tool


@dataclasses.dataclass(frozen=True)
class Example:
    """One sequence."""

    tokens: np.ndarray  # [T] int32
    mask: np.ndarray  # [T] bool: in the loss; never the first token, which nothing predicts

    @property
    def length(self):
        """T."""
        return len(self.tokens)


def load(path, tokenizer, max_length):
    """A JSON-lines file as a MapDataset of Example; lines that cannot be learned are all listed."""
    return checked(path, sources.text_rows(path), lambda row: [render(tokenizer, row)], max_length)


def checked(path, rows, render, max_length):
    """All that `render`(row) gives, each with a `length`; or a refusal that lists the bad lines."""
    found, faults = [], []
    for i in range(len(rows)):
        try:
            made = render(rows[i])
            found += made
            length = max(x.length for x in made)
            fault = f"{length} tokens" if length > max_length else None
        except ValueError as error:
            fault = str(error)
        faults += [(i, fault)] if fault else []
    if faults:
        raise ValueError(_refusal(path, faults, max_length))
    return grain.MapDataset.source(found)


def render(tokenizer, row):
    """One row of `sources.text_rows` as an Example."""
    pieces = _chat(tokenizer, row) if "messages" in row else _verbatim(tokenizer, row)
    tokens = np.concatenate([np.asarray(ids, np.int32) for ids, _ in pieces])
    mask = np.concatenate([np.full(len(ids), learned) for ids, learned in pieces])
    mask[0] = False
    return Example(tokens, mask)


def pack(examples, *, width, scored, rows):
    """Examples -> (Rows [rows, ..], rows in use): each a tree of one node, several in a row."""
    trees = [packing.sequence(x.tokens, x.mask) for x in examples]
    out, used, _ = packing.fill(trees, width=width, scored=scored, rows=rows)
    return out, used


def _verbatim(tokenizer, row):
    """[(ids, in the loss)] of a prompt and its response, ended as the model ends a text."""
    if not tokenizer.eos_ids:
        raise ValueError("the tokenizer has no token that ends a text: nothing to stop at")
    prompt = templates.render(tokenizer, [Message("prompt", row["prompt"])])
    return [(prompt, False), (tokenizer.encode(row["response"]) + [tokenizer.eos_ids[0]], True)]


def _chat(tokenizer, row):
    """[(ids, in the loss)], turn by turn; what follows the assistant's last turn is left out."""
    shown = tuple(_tool(**t["function"]) for t in row.get("tools", []))
    messages = [_message(i, m) for i, m in enumerate(row["messages"])]
    end = tokenizer.encode(templates.end_of_turn(tokenizer))
    out, said = [], [i for i, m in enumerate(messages) if m.role == "assistant"]
    for before, i in itertools.pairwise([-1, *said]):
        between = messages[before + 1 : i]
        if not between:
            raise ValueError(f"message {i} is of the assistant and follows none of another role")
        context = (
            templates.delta(tokenizer, between, end[0], tools=shown)
            if out
            else templates.render(tokenizer, between, tools=shown)
        )
        spoken = tool_calls.written([messages[i]])[0].content
        out += [(context, False), (tokenizer.encode(spoken) + end, True)]
    return out


def _tool(name, description, parameters, **_):
    return Tool(name, description, parameters)


def _message(i, m):
    calls = tool_calls.from_openai(m.get("tool_calls"))
    for call in calls:
        if isinstance(call, tool_calls.Malformed):
            raise ValueError(f"message {i}: a call cannot be read: {call.reason}")
    return Message(m["role"], m["content"], calls, m.get("tool_call_id", ""))


def _refusal(path, faults, max_length):
    lines = Path(path).read_text(encoding="utf-8").split("\n")
    number = [n for n, line in enumerate(lines, start=1) if line.strip()]
    shown = "\n  ".join(f"line {number[i]}: {fault}" for i, fault in faults[:20])
    more = f"\n  and {len(faults) - 20} more" if len(faults) > 20 else ""
    return (
        f"{path}: {len(faults)} lines cannot be used with data.max_length={max_length}; raise it "
        f"where they are too long, mend or drop the others\n  {shown}{more}"
    )
