"""A Trajectory -> the Signals of a single-turn loop, every field of them.

What such a loop does not have is filled with what leaves the estimator's formula defined, so that
each can be tried on any task. Recipes with a critic, a judge or many rounds bring their own.
"""

import numpy as np

from jaxrl.records import Signals

NEUTRAL = 3.0  # the middle of the evidence judge's scale


def single_turn(traj):
    """One prompt, one response, one reward.

    Without a critic: values 0. Without reward dimensions: one, the reward. Without a plan rubric:
    the reward is the plan's score, and the first half of the response, rounded up, is its first
    step. Without an evidence judge: every format valid, every score neutral. Without a tournament:
    ranks by reward, shared places averaged. Without environments: one. A response is one round,
    starting from its prompt. log_ratio: the full softmax over the law sampled from, 0 without cuts;
    None like logp where the trajectory has none.
    """
    B, P = len(traj.group), len(traj.task)
    mask, ones = traj.mask, np.ones(B, np.int32)
    return Signals(
        rewards=traj.reward,
        group=traj.group,
        length=mask.sum(1).astype(np.int32),
        num_groups=P,
        parts=traj.reward[:, None],
        greedy=traj.greedy,
        rank=ranks(traj.reward, traj.group),
        plan=traj.reward,
        evidence=np.full(B, NEUTRAL, np.float32),
        formatted=np.ones(B, bool),
        env=0 * ones,
        num_envs=1,
        state=traj.group,
        num_states=P,
        round=ones,
        rounds=ones,
        returns=traj.reward,
        lot=np.random.default_rng(traj.step).random(B, np.float32),
        mask=mask,
        turn=1 + (2 * np.cumsum(mask, 1) > mask.sum(1, keepdims=True) + 1).astype(np.int32),
        values=np.zeros(mask.shape, np.float32),
        log_ratio=_log_ratio(traj),
        logp=traj.full_logp,
        squares=traj.squares,
    )


def _log_ratio(traj):
    if traj.logp is None:
        return None
    return np.where(traj.mask, traj.full_logp - traj.logp, 0).astype(np.float32)


def ranks(reward, group):
    """Places in each group, 0 = best, shared ones averaged; −1 where unscorable.  [B] f32."""
    out = np.full(len(reward), -1, np.float32)
    for g in np.unique(group):
        mine = np.flatnonzero((group == g) & np.isfinite(reward))
        r = reward[mine]
        above = (r[None, :] > r[:, None]).sum(1)
        out[mine] = above + ((r[None, :] == r[:, None]).sum(1) - 1) / 2
    return out
