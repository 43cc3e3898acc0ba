"""ArenaRL's claim on real episodes: which way of asking a noisy judge trains a better agent.

    python -m launch.bench arena_claim --json=FILE --plot=FILE

A tiny policy imitates Open-Travel's expert (configs/arena_travel_tiny.py). From that one start each
method trains it further, with three seeds: groups of 8, an anchor in each, a judge that reads the
true utility with noise as large as the spread inside a group (measured at the start), half of its
variance a call's own leniency, and a bias for the one shown first. Methods differ in nothing but
what they ask the judge: matches of a tournament, or scores, as many calls as the seeded single
elimination makes. "utility itself" is GRPO on what no judge can know. What is shown is the true
utility of greedy episodes on held-out tasks, with Student's 95 % interval over seeds.
"""

import pathlib
import tempfile

import numpy as np

from configs import arena_travel_tiny
from jaxrl.ops import tournament
from jaxrl.recipes import agent, agent_plan, agent_run, stages
from launch.benches import several, tables

SEEDS = 3
UPDATES, EVERY = 20, 10
BUDGET = "single_elimination"
TOPOLOGIES = ("anchor", "swiss", "double_elimination", "single_elimination", "round_robin")
METHODS = {
    "pointwise": {"reward.name": "pointwise", "reward.topology": BUDGET},
    **{
        name: {"reward.name": "tournament", "reward.topology": name, "advantage.name": "arena"}
        for name in TOPOLOGIES
    },
    "utility itself": {"reward.name": "env"},
}


def run(peer, plot_file=None):
    """Yields a row a method; writes the curves to the file asked for."""
    if peer is not None:
        raise ValueError(f"--peer={peer}: arena_claim compares methods: leave it out")
    with tempfile.TemporaryDirectory() as folder, several.compiled_once(f"{folder}/compiled"):
        yield from _run(pathlib.Path(folder), plot_file)


def _run(folder, plot_file):
    with several.quiet(folder / "log.txt"):
        start, sigma = _start(folder)
    yield tables.Row("spread of utility inside a group at the start = σ_noise", sigma, "utility")
    curves = {}
    for name, changes in METHODS.items():
        with several.quiet(folder / "log.txt"):
            curves[name] = [
                _curve(start, changes, sigma, seed, folder / f"{name}-{seed}")
                for seed in range(SEEDS)
            ]
        yield _row(name, curves)
    if plot_file:
        from launch.benches import arena_claim_plot  # needs matplotlib

        arena_claim_plot.draw({name: interval(found) for name, found in curves.items()}, plot_file)


def interval(curves):
    """Curves of all seeds, [(update, utility)] each -> arrays: updates, mean, half-width."""
    updates = np.array([step for step, _ in curves[0]])
    values = np.array([[value for _, value in curve] for curve in curves])
    return updates, *several.interval(values)


def calls(name):
    """Judge calls a group."""
    topology = BUDGET if name == "pointwise" else name
    return 0 if name == "utility itself" else 2 * tournament.comparisons(topology, 8)


def _row(name, curves):
    _, mean, half = interval(curves[name])
    case = f"{name}, {calls(name)} calls: from {mean[0]:.3f} to (± {half[-1]:.3f})"
    if name == "pointwise":
        return tables.Row(case, float(mean[-1]), "utility")
    peer = float(interval(curves["pointwise"])[1][-1])
    return tables.Row(case, float(mean[-1]), "utility", "pointwise", peer)


def _start(folder):
    """The fine-tuned policy all methods start from, and the spread of utility in its groups."""
    c = arena_travel_tiny.get_config()
    stages.fine_tune(c, folder / "start")
    one = _config(folder / "start/policy", {"reward.name": "env"}, 0.0, 0)
    with agent_run.AgentRun(one, agent_plan.plan(one), folder / "spread") as r:
        batch = r.collect(r.state.params, r.tasks, None, 0).batch
    utility = np.array([e.reward for e in batch.episodes]).reshape(-1, one.rollout.group)
    return folder / "start/policy", float(np.nanstd(utility, axis=1, ddof=1).mean())


def _config(policy, changes, sigma, seed):
    c = arena_travel_tiny.get_config().rl
    c.advantage.name = "grpo"
    c.reward.update(sigma=sigma, shared=0.5, bias=sigma / 2)
    c.model.checkpoint = str(policy)
    c.seed, c.steps, c.eval.every, c.checkpoint.every = seed, UPDATES, EVERY, 0
    c.update_from_flattened_dict(changes)
    return c


def _curve(policy, changes, sigma, seed, workdir):
    """[(update, mean held-out utility)] of one run."""
    rows = agent.run(_config(policy, changes, sigma, seed), workdir)
    return [(row["step"], row["reward"]) for row in rows]
