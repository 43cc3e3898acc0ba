"""Task indices -> trajectories: env, template, sampler. Single turn; tokens in, tokens out."""

import dataclasses

import numpy as np

from jaxrl.chat import templates
from jaxrl.envs import prompts as replies
from jaxrl.envs.base import FAILURES
from jaxrl.parallel import hosts
from jaxrl.records import Trajectory


def collect(env, tokenizer, sampler, params, indices, key, *, version=0, step=0):
    """Samples a group for each task index [P]; returns (Trajectory without rewards, states [B])."""
    how = {"version": version, "step": step}
    return launch(env, tokenizer, sampler, params, indices, key, **how)()


def launch(env, tokenizer, sampler, params, indices, key, *, version, step):
    """The same in two halves: starts the sampler; what it returns waits for the samples.

    version: of params; step: of the update that the samples are for.
    """
    tasks = [env.reset(int(i)) for i in indices]  # none where other processes hold all of them
    prompts = [templates.render(tokenizer, messages) for _, messages in tasks]
    sampled = sampler.launch(params, prompts, key)
    labels = {"version": np.full(len(prompts), version, np.int64), "step": step}

    def finish():
        tokens, valid, samples = sampled()
        chosen = [row[mask] for row, mask in zip(samples.tokens, samples.mask, strict=True)]
        texts = tuple(replies.cut(tokenizer.decode(ids), env.stop) for ids in chosen)
        traj = from_samples(tokens, valid, samples, indices, texts=texts, **labels)
        return traj, [tasks[g][0] for g in traj.group]

    return finish


def from_samples(prompt_tokens, prompt_valid, samples, task, **rest):
    """What a Sampler returned, and the tasks [P] it was asked -> Trajectory, without rewards."""
    P, B = len(prompt_tokens), len(samples.tokens)
    return Trajectory(
        prompt_tokens=prompt_tokens,
        prompt_valid=prompt_valid,
        tokens=samples.tokens,
        valid=samples.mask,
        mask=samples.mask,
        logp=samples.logp,
        full_logp=samples.full_logp,
        group=np.repeat(np.arange(P, dtype=np.int32), B // max(P, 1)),
        stopped=samples.stopped,
        squares=samples.squares,
        task=np.asarray(task, np.int64),
        **rest,
    )


def everyone(traj, groups, samples, *, tokens=False):
    """A process's Trajectory -> what all processes must know of the whole batch.

    groups, samples: hosts.Share of its prompts and of its samples. The prompts, the tokens and the
    texts stay where they are (None), and so do the log-probs, unless `tokens`.
    """
    if hosts.count() == 1:
        return traj
    away = ("prompt_tokens", "prompt_valid", "tokens", "valid", "logp", "full_logp", "squares")
    there = ("reward", "greedy", "mask", "stopped")
    there += ("logp", "full_logp", "squares") if tokens else ()
    given = [name for name in there if getattr(traj, name) is not None]
    arrays = {name: hosts.everyone(getattr(traj, name), samples) for name in given}
    ids = {
        "group": hosts.everyone(groups.mine.astype(np.int32)[traj.group], samples),
        "task": hosts.everyone(traj.task, groups),
        "version": hosts.everyone(traj.version, groups),
    }
    if traj.failure is not None:
        names = np.array(("", *FAILURES))
        codes = (traj.failure[:, None] == names).argmax(1)  # texts of one length in all processes
        ids["failure"] = names[hosts.everyone(codes, samples)]
    return dataclasses.replace(traj, texts=(), **dict.fromkeys(away) | arrays | ids)


def join(parts):
    """Trajectories of one update, one after another; prompts are padded to the longest."""
    if len(parts) == 1:
        return parts[0]
    T = max(part.prompt_tokens.shape[1] for part in parts)
    wider = lambda x: np.pad(x, ((0, 0), (T - x.shape[1], 0)))
    parts = [
        dataclasses.replace(
            part, prompt_tokens=wider(part.prompt_tokens), prompt_valid=wider(part.prompt_valid)
        )
        for part in parts
    ]
    offsets = np.cumsum([0] + [len(part.task) for part in parts])
    parts = [
        dataclasses.replace(part, group=part.group + int(offset))
        for part, offset in zip(parts, offsets, strict=False)
    ]
    fields = [f.name for f in dataclasses.fields(Trajectory) if f.name not in ("texts", "step")]
    given = [name for name in fields if getattr(parts[0], name) is not None]
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in given}
    texts = tuple(text for part in parts for text in part.texts)
    return Trajectory(**arrays, texts=texts, step=parts[0].step)


def resample(sample_scored, has_signal, *, prompts, rounds):
    """DAPO's dynamic sampling (arXiv:2503.14476, section 3.2) in fixed shapes.

    Calls sample_scored() -> Trajectory up to `rounds` times, until `prompts` groups have a signal;
    has_signal(traj) -> [P] bool.  returns: all that was sampled.
    """
    parts, found = [], 0
    while len(parts) < rounds and found < prompts:
        parts.append(sample_scored())
        found += int(has_signal(parts[-1]).sum())
    return join(parts)
