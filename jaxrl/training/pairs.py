"""Text files -> preferences as tokens, and those -> learner rows.

    {"prompt": ..., "chosen": text, "rejected": text}        a pair
    {"prompt": ..., "response": text, "label": true|false}   one response, desirable or not

A prompt is a string, used verbatim, or a list of messages for the chat template; a response is
encoded by itself and ended as the model ends a text or a turn. The prompt is computed once, as the
trunk that both responses branch off.
"""

import dataclasses

import numpy as np

from jaxrl.chat import templates
from jaxrl.data import packing, sources
from jaxrl.messages import Message
from jaxrl.training import examples


@dataclasses.dataclass(frozen=True)
class Preference:
    """A prompt with responses: +1 preferred or desirable, −1 not, 0 only there to compare with."""

    prompt: np.ndarray  # [T] int32
    responses: tuple[np.ndarray, ...]  # [R] int32 each, ended
    sides: tuple[float, ...]

    @property
    def length(self):
        """Tokens of the longest sequence in it."""
        return len(self.prompt) + max(len(r) for r in self.responses)


def load(path, tokenizer, max_length, *, unpaired=False):
    """A JSON-lines file as a MapDataset of Preference; lines that cannot be learned are all listed.

    unpaired: single responses; a pair is then taken as two of them.
    """
    render_ = lambda row: render(tokenizer, row, unpaired=unpaired)
    return examples.checked(path, sources.preference_rows(path), render_, max_length)


def render(tokenizer, row, *, unpaired=False):
    """One row of `sources.preference_rows` as a list of Preference."""
    prompt, end = _prompt(tokenizer, row["prompt"])
    ids = lambda text: np.asarray(tokenizer.encode(text) + end, np.int32)
    if "label" in row:
        if not unpaired:
            raise ValueError("one response with a label: this loss learns from chosen and rejected")
        return [Preference(prompt, (ids(row["response"]),), (1.0 if row["label"] else -1.0,))]
    won, lost = ids(row["chosen"]), ids(row["rejected"])
    if unpaired:
        return [Preference(prompt, (won,), (1.0,)), Preference(prompt, (lost,), (-1.0,))]
    return [Preference(prompt, (won, lost), (1.0, -1.0))]


def with_others(batch):
    """Beside each response the next example's, on side 0: what KTO's baseline is estimated from.

    A batch of one, the end of a held-out file, is compared with itself.
    """
    following = batch[1:] + batch[:1]
    join = lambda x, y: Preference(x.prompt, (*x.responses, y.responses[0]), (*x.sides, 0.0))
    return [join(x, y) for x, y in zip(batch, following, strict=True)]


def pack(batch, *, width, scored, rows, last_only=False):
    """Preferences -> (Rows [rows, ..], rows in use). last_only: only responses' ends are scored."""
    trees = [packing.branches(x.prompt, x.responses, x.sides, last_only=last_only) for x in batch]
    out, used, _ = packing.fill(trees, width=width, scored=scored, rows=rows)
    return out, used


def _prompt(tokenizer, prompt):
    """(ids, the ids that end a response to it)."""
    if isinstance(prompt, str):
        if not tokenizer.eos_ids:
            raise ValueError("the tokenizer has no token that ends a text: nothing to stop at")
        ids, end = templates.render(tokenizer, [Message("prompt", prompt)]), tokenizer.eos_ids[:1]
    else:
        messages = [Message(m["role"], m["content"]) for m in prompt]
        ids = templates.render(tokenizer, messages)
        end = tokenizer.encode(templates.end_of_turn(tokenizer))
    if not ids:
        raise ValueError("prompt is empty: nothing predicts the first token of a response")
    return np.asarray(ids, np.int32), list(end)
