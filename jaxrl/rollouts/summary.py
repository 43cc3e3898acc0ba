"""What a batch of trajectories looks like: numbers for the metrics, samples for the report."""

import numpy as np

from jaxrl.envs.base import FAILURES
from jaxrl.parallel import hosts


def numbers(traj, zero_variance, groups):
    """Metrics of one update's rollouts; names and units are in training/metrics.SCHEMA.

    zero_variance: [P] bool; groups: those learned from.
    """
    reward = traj.reward[np.isfinite(traj.reward)]
    length = traj.mask.sum(1)
    return _failures(traj.failure) | {
        "reward/mean": reward.mean() if reward.size else np.nan,
        "reward/std": reward.std() if reward.size else np.nan,
        "reward/unscorable": len(traj.reward) - reward.size,
        "groups/zero_std": zero_variance.sum(),
        "groups/dropped": len(traj.task) - len(groups),
        "length/mean": length.mean(),
        "length/max": length.max(),
        "length/truncated": len(length) - traj.stopped.sum(),
        "tokens/sampled": length.sum(),
        "policy/version": traj.version.min(),
        "policy/staleness": traj.step - traj.version.min(),
    }


def _failures(failure):
    if failure is None:  # rewards that no env in a worker gave
        return {}
    return {f"scorer/{why}": (failure == why).sum() for why in FAILURES}


def extremes(traj, adv, logp, tokenizer, step, count, *, share=None):
    """Rows of rollouts.jsonl for the `count` samples of lowest and highest reward, half each.

    adv: [B], or [B, R] of which the mean over the chosen tokens is shown. logp: [B, R], the
    learner's; the sampler's stands in where the learner has none. share: of a batch that several
    processes sampled, of which the extremes then are.
    """
    share = share or hosts.whole(len(traj.reward))
    reward = hosts.everyone(traj.reward, share)
    scorable = np.flatnonzero(np.isfinite(reward))
    order = scorable[np.argsort(reward[scorable], kind="stable")]
    half = min(count // 2, len(order) // 2)
    picked = [int(n) for n in (*order[:half], *order[len(order) - half :])]
    here = {int(n): b for b, n in enumerate(share.mine)}
    row = lambda n: _row(traj, adv, logp, tokenizer, step, here[n])
    rows = hosts.merged({n: row(n) for n in picked if n in here})
    return [rows[n] for n in picked]


def _row(traj, adv, logp, tokenizer, step, b):
    g, mask = traj.group[b], traj.mask[b]
    shown = np.where(np.isnan(logp[b]), traj.full_logp[b], logp[b])[mask]
    return {
        "step": int(step),
        "version": int(traj.version[g]),
        "task": int(traj.task[g]),
        "prompt": tokenizer.decode(traj.prompt_tokens[g][traj.prompt_valid[g]]),
        "reward": float(traj.reward[b]),
        "advantage": float(adv[b] if adv.ndim == 1 else adv[b][mask].mean() if mask.any() else 0),
        "pieces": tokenizer.pieces(traj.tokens[b][mask]),
        "logp": [round(float(x), 4) for x in shown],
        "ended": "stop" if traj.stopped[b] else "length",
    }
