"""An agent in one command: an expert's episodes → supervised fine-tuning → reinforcement learning.

    WORKDIR/expert.jsonl  the expert's episodes, real calls with real results; expert_held_out.jsonl
    WORKDIR/start         the policy before, if it is a fresh one (models/fresh.py)
    WORKDIR/sft, rl       a run each, with its report; rl evaluates before and after
    WORKDIR/policy        what SFT has made, as a Hugging Face directory

A stage that is done is not done again, and one that was cut off goes on.
"""

import functools
import json
import os
import shutil
from pathlib import Path

from jaxrl import tools
from jaxrl.chat import tool_calls
from jaxrl.envs import table
from jaxrl.models import checkpoints, fresh
from jaxrl.recipes import agent, sft
from jaxrl.training import metrics, runs, setup


def prepare(c, workdir):
    """The Plan of SFT. Checks the settings of both stages before anything is trained."""
    workdir = Path(workdir)
    setup.write_config(c, workdir)
    write_expert(c, workdir)
    if not c.sft.model.checkpoint:
        start = fresh.FreshConfig(**c.start)
        once(workdir / "start", lambda path: fresh.write(path, _texts(workdir), start, c.sft.seed))
    before = sft_config(c, workdir)
    agent.plan(with_checkpoint(c.rl, before.model.checkpoint))
    return sft.prepare(before, workdir / "sft")


def run(c, workdir, p=None):
    """Both stages, or what is left of them.  returns: the rows of eval.jsonl of RL, oldest first;
    none if a signal asked to stop during SFT."""
    policy = fine_tune(c, workdir, p)
    return agent.run(with_checkpoint(c.rl, policy), Path(workdir) / "rl") if policy else []


def fine_tune(c, workdir, p=None):
    """The first stage: the directory of the policy it makes; None if a signal asked to stop."""
    workdir = Path(workdir)
    p = prepare(c, workdir) if p is None else p
    if not metrics.finished(workdir / "sft", c.sft.steps):
        sft.run(sft_config(c, workdir), workdir / "sft", p)
    if not metrics.finished(workdir / "sft", c.sft.steps):
        return None
    once(workdir / "policy", lambda path: _export(workdir / "sft", path))
    return workdir / "policy"


def sft_config(c, workdir):
    """The config of the SFT run: on the expert's episodes, from the start there is."""
    data = {"path": str(workdir / "expert.jsonl")}
    data |= {"eval_path": str(workdir / "expert_held_out.jsonl")} if c.expert.held_out else {}
    made = c.sft.copy_and_resolve_references()
    made.data.update(data)
    made.model.checkpoint = made.model.checkpoint or str(workdir / "start")
    return made


def write_expert(c, workdir):
    """The expert's episodes as rows for SFT, those of the two files on different tasks."""
    env = table.build(c.rl.env.name, c.rl.env.params.to_dict() | c.expert.params.to_dict())
    held_out = c.expert.held_out
    count = c.expert.tasks or len(env) - held_out
    if not 0 < count <= len(env) - held_out:
        raise ValueError(
            f"expert.tasks={c.expert.tasks} and expert.held_out={held_out}: there are {len(env)} "
            "tasks for both; ask for fewer, or give the env a larger size"
        )
    later = range(count, count + held_out)
    write = functools.partial(_write_rows, env=env, schemas=c.rl.rollout.schemas)
    for name, indices in (("expert", range(count)), ("expert_held_out", later)):
        once(workdir / f"{name}.jsonl", functools.partial(write, indices=indices))


def _write_rows(path, *, env, indices, schemas):
    shown = [tool_calls.signature(tools.tool(f)) for f in env.tools] if schemas else []
    with path.open("w", encoding="utf-8") as file:
        for index in indices:
            state, asked = env.reset(index)
            said = [*asked, *env.solve(state)]
            row = {"messages": tool_calls.to_openai(said)} | ({"tools": shown} if shown else {})
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _texts(workdir):
    """What is said in the expert's episodes, for a vocabulary."""
    with (workdir / "expert.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            for m in row["messages"]:
                calls = tool_calls.from_openai(m.get("tool_calls"))
                yield "\n".join((m["content"], tool_calls.write(calls)))
            yield json.dumps(row.get("tools", []), ensure_ascii=False)


def _export(run_dir, path):
    model, params, tokenizer = runs.open_model(str(run_dir))
    checkpoints.save(params, model, tokenizer, path)


def with_checkpoint(c, path):
    """The config of a run that begins with the model at `path`."""
    made = c.copy_and_resolve_references()
    made.model.checkpoint = str(path)
    return made


def once(path, make):
    """Makes a file or directory whole, or leaves it as it is."""
    if path.exists():
        return
    partial = path.with_name(f"{path.name}.partial")
    if partial.is_dir():
        shutil.rmtree(partial)
    make(partial)
    os.replace(partial, path)
