"""What an update of an `agent` run looks like: numbers for the metrics, episodes for the report."""

import numpy as np

from jaxrl.envs.base import FAILURES
from jaxrl.rollouts.episodes import ENDINGS


def numbers(played, zero_variance, groups):
    """Metrics of one update's episodes; names and units are in training/metrics.SCHEMA.

    zero_variance: [P] bool; groups: those learned from.
    """
    episodes, traj, graded = played.batch.episodes, played.batch.traj, played.graded
    reward = graded.reward[np.isfinite(graded.reward)]
    length = _lengths(played.batch)
    mean = lambda values: float(np.mean(values))
    count = lambda key: sum(e.counts[key] for e in episodes)
    return {
        "reward/mean": reward.mean() if reward.size else np.nan,
        "reward/std": reward.std() if reward.size else np.nan,
        "reward/unscorable": len(graded.reward) - reward.size,
        "reward/utility": _mean_of_finite([e.reward for e in episodes]),
        "groups/zero_std": zero_variance.sum(),
        "groups/dropped": len(zero_variance) - len(groups),
        "agent/turns": mean([_turns(e) for e in episodes]),
        "agent/calls": mean([e.counts["calls"] for e in episodes]),
        **{f"agent/{key}": count(key) for key in ("malformed", "refused", "broken")},
        **{f"ending/{x}": mean([e.ending == x for e in episodes]) for x in ENDINGS},
        **{f"scorer/{x}": sum(e.failure == x for e in episodes) for x in FAILURES},
        "length/mean": length.mean(),
        "length/max": length.max(),
        "length/truncated": sum(e.ending in ("reply", "tokens") for e in episodes),
        "tokens/sampled": length.sum(),
        "policy/version": traj.version.min(),
        "policy/staleness": traj.step - traj.version.min(),
        **graded.metrics,
    }


def rows(played, adv, logp, tokenizer, count):
    """Rows of rollouts.jsonl: whole groups, as many as hold `count` episodes; those of widest
    utility first, which show best what the judge told apart.

    adv: [E]; logp: [B, R], the learner's; the sampler's stands in where the learner has none.
    """
    batch = played.batch
    groups = _by_spread(batch)[: max(1, count * len(set(batch.group)) // len(batch.group))]
    shown = [e for g in groups for e in np.flatnonzero(batch.group == g)] if count else []
    return [_row(played, int(e), adv, logp, tokenizer) for e in shown]


def brackets(played, topology):
    """Rows of tournaments.jsonl: the matches of the group of widest utility."""
    if not played.graded.matches:
        return []
    batch, graded = played.batch, played.graded
    g = _by_spread(batch)[0]
    members = np.flatnonzero(batch.group == g)
    place = {int(e): n for n, e in enumerate(members)}
    players = [
        {
            "rank": float(graded.rank[e]),
            "utility": _number(batch.episodes[e].reward),
            "ending": batch.episodes[e].ending,
        }
        for e in members
    ]
    matches = [
        {
            "round": m.round,
            "players": [place[i] for i in m.players],
            "scores": list(m.scores),
            "calls": [list(call) for call in m.calls],
        }
        for m in graded.matches
        if m.group == g
    ]
    task, step = batch.episodes[members[0]].index, batch.traj.step
    about = {"step": int(step), "task": task, "topology": topology}
    return [about | {"players": players, "matches": matches}]


def _row(played, e, adv, logp, tokenizer):
    batch, episode = played.batch, played.batch.episodes[e]
    samples = np.flatnonzero(batch.of == e)
    traj, valid = batch.traj, batch.traj.valid[samples]
    said = np.where(np.isnan(logp[samples]), traj.full_logp[samples], logp[samples])
    mask = traj.mask[samples][valid]
    return {
        "step": int(traj.step),
        "version": int(traj.version.min()),
        "task": episode.index,
        "prompt": episode.asked[-1].content,
        "reward": _number(played.graded.reward[e]),
        "utility": _number(episode.reward),
        "advantage": float(adv[e]),
        "pieces": tokenizer.pieces(traj.tokens[samples][valid]),
        "logp": [
            round(float(x), 4) if mine else None for x, mine in zip(said[valid], mask, strict=True)
        ],
        "chosen": mask.astype(int).tolist(),
        "turn": traj.turn[samples][valid].tolist(),
        "messages": [
            {"role": m.role, "content": m.content, "calls": [c._asdict() for c in m.calls]}
            for m in (*episode.asked, *episode.said)
        ],
        "counts": dict(episode.counts),
        "ended": episode.ending,
    }


def _by_spread(batch):
    """Group numbers, the widest in utility first."""
    utility = np.array([e.reward for e in batch.episodes])
    spread = lambda g: -np.nan_to_num(np.ptp(utility[batch.group == g]))
    return sorted(set(batch.group.tolist()), key=lambda g: (spread(g), g))


def _lengths(batch):
    length = np.zeros(len(batch.episodes), int)
    np.add.at(length, batch.of, batch.traj.mask.sum(1))
    return length


def _turns(episode):
    return sum(m.role == "assistant" for m in episode.said)


def _mean_of_finite(values):
    finite = [x for x in values if np.isfinite(x)]
    return float(np.mean(finite)) if finite else np.nan


def _number(x):
    return float(x) if np.isfinite(x) else None
