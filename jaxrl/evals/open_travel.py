"""Open-Travel's own table: what policies reach on each type of task, by the program's utility."""

import jax
import numpy as np

from jaxrl.envs.travel import baselines, expert, utility
from jaxrl.envs.travel import task as tasks
from jaxrl.ops import metrics

POLICIES = {  # task -> messages, from the first call to the answer
    "expert": expert.solve,
    "random_tool": baselines.random_tool,
    "nothing": baselines.nothing,
}


def score(task, messages):
    """The Utility of a trajectory: the calls in its messages with their results, its last text."""
    wanted = [call for m in messages for call in m.calls]
    results = [m.content for m in messages if m.role == "tool"]
    return utility.utility(task, tuple(zip(wanted, results, strict=True)), messages[-1].content)


def table(env, policies=POLICIES):
    """What each policy reaches on env's tasks: a row for each of its kinds, and one for all.

    Rows: policy, kind ("all" tasks alike), n, utility (mean), low and high (its bootstrap 95 %
    interval over tasks), parts (mean of every part; of "all", of those that all kinds have).
    """
    rows = []
    drawn = [env.reset(i)[0].task for i in range(len(env))]
    for name, policy in policies.items():
        found = [score(task, policy(task)) for task in drawn]
        for kind in (*tasks.KINDS, "all"):
            mask = np.array([kind in (task.kind, "all") for task in drawn])
            rows += [_row(name, kind, found, mask)] if mask.any() else []
    return rows


def text(rows):
    """The rows as a Markdown table, a line a policy and a column a kind, in percent."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    lines = ["| policy | " + " | ".join(kinds) + " |", "| --- " * (len(kinds) + 1) + "|"]
    for policy in dict.fromkeys(row["policy"] for row in rows):
        cells = [f"{100 * r['utility']:.1f}" for r in rows if r["policy"] == policy]
        lines.append(f"| {policy} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _row(policy, kind, found, mask):
    values = np.array([u.value for u in found], np.float32)
    low, high = metrics.bootstrap_interval(values, mask, jax.random.key(0))
    scored = [u for u, counts in zip(found, mask, strict=True) if counts]
    common = [name for name in scored[0].parts if all(name in u.parts for u in scored)]
    parts = {name: float(np.mean([u.parts[name] for u in scored])) for name in common}
    value = float(values[mask].mean())
    named = {"policy": policy, "kind": kind, "n": len(scored), "utility": value}
    return named | {"low": float(low), "high": float(high), "parts": parts}
