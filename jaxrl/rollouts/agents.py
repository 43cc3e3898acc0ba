"""Task indices -> episodes with tools, all under way at once -> trajectories for the learner."""

import asyncio
import dataclasses

import numpy as np

from jaxrl.chat.waiting import wait
from jaxrl.records import Trajectory
from jaxrl.rollouts.episodes import Episode
from jaxrl.sampling.sampler import left_pad


@dataclasses.dataclass(frozen=True)
class Batch:
    """E = P·G episodes and their samples: B = E, or one a turn where histories are rendered."""

    traj: Trajectory
    episodes: tuple[Episode, ...]  # the G of a task one after another
    group: np.ndarray  # [E] int32: the task's place in the batch, in [0, P)
    of: np.ndarray  # [B] int32: the episode of each sample


def collect(player, indices, laws, lot, *, at_once, version=0, step=0):
    """Plays len(laws) episodes of each task: a Batch without rewards in its trajectory.

    laws: a sampling law for each member of a group. lot: text; equal lots draw the same. at_once:
    how many episodes are under way together.
    """
    episodes = wait(_all(player, indices, laws, lot, at_once))
    group = np.repeat(np.arange(len(indices), dtype=np.int32), len(laws))
    parts = [part for e in episodes for part in e.parts]
    of = np.repeat(np.arange(len(episodes), dtype=np.int32), [len(e.parts) for e in episodes])
    rendered = player.limits.history == "rendered"
    every = 1 if rendered else len(laws)  # samples that go on from the same prompt
    prompts = [part.prompt for part in parts[::every]]
    tokens, valid = left_pad(prompts, len(prompts), max(map(len, prompts)))
    width = player.limits.reply if rendered else player.limits.tokens
    fill = lambda key, dtype: _padded([getattr(p, key) for p in parts], width, dtype)
    stopped = np.array([e.ending == "answer" for e in episodes], bool)
    traj = Trajectory(
        prompt_tokens=tokens,
        prompt_valid=valid,
        tokens=fill("tokens", np.int32),
        valid=fill("turn", np.int32) > 0,
        mask=fill("chosen", bool),
        logp=fill("logp", np.float32),
        full_logp=fill("full_logp", np.float32),
        turn=fill("turn", np.int32),
        group=np.arange(len(parts), dtype=np.int32) // every,
        stopped=stopped[of],
        task=np.array([episodes[e].index for e in of[::every]], np.int64),
        version=np.full(len(prompts), version, np.int64),
        step=step,
    )
    return Batch(traj, tuple(episodes), group, of)


async def _all(player, indices, laws, lot, at_once):
    gate = asyncio.Semaphore(at_once)

    async def one(index, p, g):
        async with gate:
            return await player.play(index, laws[g], f"{lot}/{p}/{g}")

    asked = [one(index, p, g) for p, index in enumerate(indices) for g in range(len(laws))]
    return await asyncio.gather(*asked)


def _padded(lists, width, dtype):
    out = np.zeros((len(lists), width), dtype)
    for row, values in zip(out, lists, strict=True):
        row[: len(values)] = values
    return out
