"""Where a run's rows come from: the order of tasks, and files of text, both as Grain data sets.

The order depends on the seed alone, and a stream's place in it is a small JSON dict (`get_state`,
`set_state`). Reading is done in the calling process: tasks are indices and texts fit in memory.
"""

import pathlib

import grain
import numpy as np

from jaxrl import json_lines

ROLES = ("system", "user", "assistant", "tool")


def task_batches(num_tasks, prompts, seed):
    """An endless iterator of int64 [prompts]: task indices, each epoch a fresh permutation.

    Batches run on across epochs, so every task comes once an epoch whatever the batch size, and a
    batch larger than the number of tasks repeats some. `get_state()` is JSON; `set_state` resumes.
    """
    if num_tasks < 1:
        raise ValueError(f"num_tasks={num_tasks}: the set of tasks is empty; give it at least one")
    if prompts < 1:
        raise ValueError(f"rollout.prompts={prompts}: give at least 1 prompt a batch")
    tasks = grain.MapDataset.range(num_tasks).map(np.int64)
    return batches(tasks, prompts, seed)


def batches(dataset, size, seed):
    """A MapDataset as an endless, shuffled iterator of stacked batches, resumable as above."""
    return iter(inline(endless(dataset, seed).batch(size, batch_fn=_batch)))


def endless(dataset, seed):
    """A MapDataset shuffled anew each epoch, for more epochs than anyone waits for."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed={seed}: give a number in [0, 2³²), the range Grain tells apart")
    epochs = 2**62 // len(dataset)  # Grain's own "forever" overflows one row
    return dataset.seed(seed).shuffle().repeat(epochs)


def inline(dataset):
    """A MapDataset as an IterDataset that is read in the calling thread: nothing to read ahead."""
    return dataset.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))


def text_rows(path):
    """A JSON-lines file as a MapDataset of {"messages": [...]} or {"prompt": ..., "response": ...}.

    Beside messages there may be "tools", and in those of the assistant "tool_calls", both in
    OpenAI's form. Every broken line is listed, with its number, before any is used. Blank lines are
    skipped.
    """
    forms = '{"messages": [...]} or {"prompt": ..., "response": ...}'
    return grain.MapDataset.source(read(path, _sound(_text_fault), forms))


def preference_rows(path):
    """A JSON-lines file as a MapDataset of pairs or of labelled responses (`training/pairs.py`).

    {"prompt": ..., "chosen": ..., "rejected": ...} or {"prompt": ..., "response": ..., "label": b}.
    Broken lines as in `text_rows`.
    """
    forms = '{"prompt": ..., "chosen": ..., "rejected": ...}, or response and label'
    return grain.MapDataset.source(read(path, _sound(_preference_fault), forms))


def read(path, parse, forms):
    """What `parse` makes of each line's object: a list; ValueError that lists all broken lines.

    parse: raises ValueError for what is wrong with an object; forms: those there are, in words.
    """
    rows, broken = [], []
    with pathlib.Path(path).open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    rows.append(parse(json_lines.record(line)))
                except ValueError as fault:
                    broken.append(f"line {number}: {fault}")
    if broken:
        raise ValueError(json_lines.listing(path, broken))
    if not rows:
        raise ValueError(f"{path} holds no rows: give one JSON object a line, {forms}")
    return rows


def _batch(rows):
    return np.stack(rows) if isinstance(rows[0], np.generic) else list(rows)


def _sound(fault_of):
    """A row as it is, or a ValueError that says what `fault_of` finds."""

    def parse(row):
        if fault := fault_of(row):
            raise ValueError(fault)
        return row

    return parse


def _text_fault(row):
    if "messages" in row and set(row) <= {"messages", "tools"}:
        named = isinstance(row.get("tools", []), list) and all(map(_is_tool, row.get("tools", [])))
        if not named:
            return 'tools is no list of {"type": "function", "function": {"name": ..., ...}}'
        return _message_fault(row["messages"])
    if set(row) != {"prompt", "response"}:
        return f"keys {sorted(row)}: give either messages, or prompt and response"
    return _string_fault(row, row)


def _preference_fault(row):
    texts = set(row) - {"prompt", "label"}
    if set(row) not in ({"prompt", "chosen", "rejected"}, {"prompt", "response", "label"}):
        return f"keys {sorted(row)}: give prompt, chosen and rejected, or prompt, response, label"
    if "label" in row and not isinstance(row["label"], bool):
        return f"label is {row['label']!r}: give true or false"
    if not isinstance(row["prompt"], str):
        if fault := _message_fault(row["prompt"], answered=False):
            return f"prompt: {fault}"
        if row["prompt"][-1]["role"] == "assistant":
            return "prompt ends with a message of the assistant: the responses come after it"
    elif not row["prompt"]:
        return "prompt is empty"
    if fault := _string_fault(row, sorted(texts)):
        return fault
    if "chosen" in row and row["chosen"] == row["rejected"]:
        return "chosen and rejected are equal: nothing to prefer"
    return None


def _string_fault(row, keys):
    for key in keys:
        if not isinstance(row[key], str):
            return f"{key} is no string"
        if not row[key] and key != "prompt":
            return f"{key} is empty: nothing to learn"
    return None


def _is_tool(tool):
    told = tool.get("function") if isinstance(tool, dict) else None
    return isinstance(told, dict) and {"name", "description", "parameters"} <= set(told)


def _message_fault(messages, *, answered=True):
    if not isinstance(messages, list) or not messages:
        return "messages is no list of at least one message"
    for i, message in enumerate(messages):
        if not isinstance(message, dict) or not {"role", "content"} <= set(message):
            return f"message {i} lacks role or content"
        if message["role"] not in ROLES:
            return f"message {i} has role {message['role']!r}: use one of {', '.join(ROLES)}"
        if not isinstance(message["content"], str):
            return f"message {i} has content that is no string"
    if answered and all(message["role"] != "assistant" for message in messages):
        return "no message of the assistant: nothing to learn"
    return None
