"""What policies reach on each kind of task of a benchmark, by the program's utility."""

from typing import NamedTuple

import jax
import numpy as np

from jaxrl.evals import agent
from jaxrl.ops import metrics


class Scored(NamedTuple):
    """The utility of one episode, in [0, 1]."""

    value: float
    parts: dict[str, float]
    valid: bool  # whether the answer keeps its form


def table(env, policies, score):
    """`rows` of scripted policies {name: task -> messages} on all tasks of env."""
    played = {
        name: [agent.scripted(env, policy, i) for i in range(len(env))]
        for name, policy in policies.items()
    }
    return [row for name, episodes in played.items() for row in rows(name, env, episodes, score)]


def rows(policy, env, episodes, score):
    """A row for each of env's kinds, and one for all tasks alike.

    Rows: policy, kind ("all" for all), n, utility (mean), low and high (its bootstrap 95 % interval
    over tasks), valid (share), parts (mean of every part; of "all", of those that all kinds have).
    """
    kinds = np.array([e.state.task.kind for e in episodes])
    found = [score(e) for e in episodes]
    masks = {kind: kinds == kind for kind in env.kinds} | {"all": np.ones(len(kinds), bool)}
    return [_row(policy, kind, found, mask) for kind, mask in masks.items() if mask.any()]


def text(rows, column="utility"):
    """The rows as a Markdown table, a line a policy and a column a kind, in percent."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    cells = {p: [] for p in dict.fromkeys(row["policy"] for row in rows)}
    for row in rows:
        cells[row["policy"]].append(100 * row[column])
    return markdown("policy", kinds, cells)


def markdown(corner, columns, lines):
    """A Markdown table; lines: {name: a number for each column}, NaN is shown as "-"."""
    shown = lambda x: "-" if np.isnan(x) else f"{x:.1f}"
    head = [f"| {corner} | " + " | ".join(columns) + " |", "| --- " * (len(columns) + 1) + "|"]
    body = [f"| {name} | " + " | ".join(map(shown, line)) + " |" for name, line in lines.items()]
    return "\n".join(head + body)


def _row(policy, kind, found, mask):
    values = np.array([u.value for u in found], np.float32)
    low, high = metrics.bootstrap_interval(values, mask, jax.random.key(0))
    scored = [u for u, counts in zip(found, mask, strict=True) if counts]
    common = [name for name in scored[0].parts if all(name in u.parts for u in scored)]
    parts = {name: float(np.mean([u.parts[name] for u in scored])) for name in common}
    named = {"policy": policy, "kind": kind, "n": len(scored)}
    named |= {"utility": float(values[mask].mean()), "low": float(low), "high": float(high)}
    return named | {"valid": float(np.mean([u.valid for u in scored])), "parts": parts}
