"""Open-Travel's own table: what policies reach on each type of task, by the program's utility."""

import numpy as np

from jaxrl.envs.travel import baselines, expert, utility
from jaxrl.envs.travel import task as tasks

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
    """A row for each policy and kind of env's tasks, and for their mean: what they reached.

    Rows: policy, kind ("mean" is over the kinds), n, utility (mean), low and high (its normal 95 %
    interval over tasks), and the mean of every part.
    """
    rows = []
    drawn = [env.reset(i)[0].task for i in range(len(env))]
    for name, policy in policies.items():
        found = {kind: [] for kind in tasks.KINDS}
        for task in drawn:
            found[task.kind].append(score(task, policy(task)))
        listed = [_row(name, kind, scored) for kind, scored in found.items() if scored]
        rows += [*listed, _mean(name, listed)]
    return rows


def text(rows):
    """The rows as a Markdown table, a line a policy and a column a kind, in percent."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    lines = ["| policy | " + " | ".join(kinds) + " |", "| --- " * (len(kinds) + 1) + "|"]
    for policy in dict.fromkeys(row["policy"] for row in rows):
        cells = [f"{100 * r['utility']:.1f}" for r in rows if r["policy"] == policy]
        lines.append(f"| {policy} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _row(policy, kind, scored):
    values = np.array([u.value for u in scored])
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    parts = {name: float(np.mean([u.parts[name] for u in scored])) for name in scored[0].parts}
    mean = float(values.mean())
    low, high = mean - float(half), mean + float(half)
    named = {"policy": policy, "kind": kind, "n": len(values)}
    return named | {"utility": mean, "low": low, "high": high, "parts": parts}


def _mean(policy, rows):
    """The kinds count alike, however many tasks each has."""
    half = np.sqrt(sum((r["high"] - r["utility"]) ** 2 for r in rows)) / len(rows)
    mean = float(np.mean([r["utility"] for r in rows]))
    named = {"policy": policy, "kind": "mean", "n": sum(r["n"] for r in rows)}
    return named | {"utility": mean, "low": mean - half, "high": mean + half, "parts": {}}
