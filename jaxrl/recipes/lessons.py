"""What a policy imitates before it is reinforced, as rows for SFT: an expert's episodes, copies.

A fresh policy must learn to copy names before it can use what tools return. The answers of episodes
are too short to teach it soon; words in a random order can be said again in no other way.
"""

import functools
import json
import os
import shutil

import numpy as np

from jaxrl import tools
from jaxrl.chat import tool_calls
from jaxrl.envs import table

WORDS = 4, 24  # of a copy, fewest and most


def write_expert(c, workdir):
    """expert.jsonl and expert_held_out.jsonl: the expert's episodes on different tasks."""
    env = table.build(c.rl.env.name, c.rl.env.params.to_dict() | c.expert.params.to_dict())
    held_out = c.expert.held_out
    count = c.expert.tasks or len(env) - held_out
    if not 0 < count <= len(env) - held_out:
        raise ValueError(
            f"expert.tasks={c.expert.tasks} and expert.held_out={held_out}: there are {len(env)} "
            "tasks for both; ask for fewer, or give the env a larger size"
        )
    shown = [tool_calls.signature(tools.tool(f)) for f in env.tools] if c.rl.rollout.schemas else []
    with_tools = {"tools": shown} if shown else {}
    rows = lambda indices: (_episode(env, i) | with_tools for i in indices)
    once(workdir / "expert.jsonl", functools.partial(_write, rows=rows(range(count))))
    later = rows(range(count, count + held_out))
    once(workdir / "expert_held_out.jsonl", functools.partial(_write, rows=later))


def write_copies(c, workdir):
    """copies.jsonl, so many that none comes twice, and copies_held_out.jsonl."""
    words = sorted({word for text in texts(workdir) for word in text.split()})
    for name, count, seed in (
        ("copies", c.copying.steps * c.copying.data.batch, c.copying.seed),
        ("copies_held_out", c.expert.held_out, c.copying.seed + 1),
    ):
        rows = _copies(words, count, np.random.default_rng(seed))
        once(workdir / f"{name}.jsonl", functools.partial(_write, rows=rows))


def texts(workdir):
    """What is said in the expert's episodes, for a vocabulary."""
    with (workdir / "expert.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            for m in row["messages"]:
                calls = tool_calls.from_openai(m.get("tool_calls"))
                yield "\n".join((m["content"], tool_calls.write(calls)))
            yield json.dumps(row.get("tools", []), ensure_ascii=False)


def once(path, make):
    """Makes a file or directory whole, or leaves it as it is."""
    if path.exists():
        return
    partial = path.with_name(f"{path.name}.partial")
    if partial.is_dir():
        shutil.rmtree(partial)
    make(partial)
    os.replace(partial, path)


def _episode(env, index):
    state, asked = env.reset(index)
    return {"messages": tool_calls.to_openai([*asked, *env.solve(state)])}


def _copies(words, count, rng):
    fewest, most = WORDS
    for _ in range(count):
        text = " ".join(rng.choice(words, rng.integers(fewest, most + 1)))
        asked = {"role": "user", "content": f"Repeat: {text}"}
        yield {"messages": [asked, {"role": "assistant", "content": text}]}


def _write(path, rows):
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
