"""An agent in one command: an expert's episodes → supervised fine-tuning → reinforcement learning.

    WORKDIR/expert.jsonl  the expert's episodes, real calls with real results; expert_held_out.jsonl
    WORKDIR/start         the policy before, if it is a fresh one (models/fresh.py)
    WORKDIR/copies.jsonl  what a fresh one learns first, to say words again; copies_held_out.jsonl
    WORKDIR/copying, sft, rl    a run each, with its report; rl evaluates before and after
    WORKDIR/copier, policy      what copying and SFT have made, as Hugging Face directories

A stage that is done is not done again, and one that was cut off goes on.
"""

import dataclasses
from pathlib import Path

from jaxrl.models import checkpoints, fresh
from jaxrl.recipes import agent, lessons, sft
from jaxrl.training import metrics, runs, setup


def prepare(c, workdir):
    """The Plan of SFT. Checks the settings of all stages before anything is trained."""
    workdir = Path(workdir)
    setup.write_config(c, workdir)
    lessons.write_expert(c, workdir)
    if not c.sft.model.checkpoint:
        start = fresh.FreshConfig(**c.start)
        write = lambda path: fresh.write(path, lessons.texts(workdir), start, c.sft.seed)
        lessons.once(workdir / "start", write)
    first = c.sft.model.checkpoint or str(workdir / "start")
    agent.plan(_with_checkpoint(c.rl, first))
    if _copies(c):
        lessons.write_copies(c, workdir)
        sft.prepare(copying_config(c, workdir), workdir / "copying")
    setup.write_config(sft_config(c, workdir), workdir / "sft")
    return sft.plan(_with_checkpoint(sft_config(c, workdir), first))


def run(c, workdir, p=None):
    """All stages, or what is left of them.  returns: the rows of eval.jsonl of RL, oldest first;
    none if a signal asked to stop before."""
    policy = fine_tune(c, workdir, p)
    return agent.run(_with_checkpoint(c.rl, policy), Path(workdir) / "rl") if policy else []


def fine_tune(c, workdir, p=None):
    """What comes before RL: the directory of the policy it makes; None if a signal asked to stop.

    p: what `prepare` returned, if the caller has done so.
    """
    workdir = Path(workdir)
    p = prepare(c, workdir) if p is None else p
    if _copies(c):
        copier = _imitate(copying_config(c, workdir), workdir / "copying", workdir / "copier")
        if copier is None:
            return None
        p = dataclasses.replace(p, base=dataclasses.replace(p.base, path=copier))
    return _imitate(sft_config(c, workdir), workdir / "sft", workdir / "policy", p)


def copying_config(c, workdir):
    """The config of the run in which a fresh policy learns to copy."""
    return _imitating(c.copying, workdir, "copies", workdir / "start")


def sft_config(c, workdir):
    """The config of the SFT run: on the expert's episodes, from the policy there is."""
    made = c.sft.model.checkpoint or workdir / ("copier" if _copies(c) else "start")
    return _imitating(c.sft, workdir, "expert", made)


def _copies(c):
    return c.copying.steps and not c.sft.model.checkpoint


def _imitating(c, workdir, name, policy):
    made, held_out = _with_checkpoint(c, policy), workdir / f"{name}_held_out.jsonl"
    made.data.path = str(workdir / f"{name}.jsonl")
    made.data.eval_path = str(held_out) if held_out.stat().st_size else ""
    return made


def _imitate(c, run_dir, policy, p=None):
    """Trains, and exports what came out to `policy`; None if a signal asked to stop."""
    if not metrics.finished(run_dir, c.steps):
        sft.run(c, run_dir, p)
    if not metrics.finished(run_dir, c.steps):
        return None
    lessons.once(policy, lambda path: _export(run_dir, path))
    return policy


def _export(run_dir, path):
    model, params, tokenizer = runs.open_model(str(run_dir))
    checkpoints.save(params, model, tokenizer, path)


def _with_checkpoint(c, path):
    made = c.copy_and_resolve_references()
    made.model.checkpoint = str(path)
    return made
