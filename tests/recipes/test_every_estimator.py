"""Every name of the estimators' table trains two steps in the real loop, and moves the parameters.

One run's compiled sampler and update serve all of them: what differs is the estimator of its plan.
"""

import dataclasses
import functools

import jax
import numpy as np
import pytest
import tiny

from jaxrl.algos import estimators
from jaxrl.parallel import mesh
from jaxrl.recipes import rl, rl_plan, rl_run
from jaxrl.training.metrics import read_rows


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module", autouse=True)
def one_device():
    """Half the compile; the meshes are tested with grpo, and estimators with sharded rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh, "make", functools.partial(mesh.make, devices=jax.devices()[:1]))
        yield


def config(model, name, **changes):
    changes = {"advantage.name": name, "checkpoint.every": 0, "steps": 2} | changes
    c = tiny.config(model, **changes)
    c.eval.params = {}
    return c


@pytest.fixture(scope="module")
def opened(model, tmp_path_factory):
    """A run whose sampler also reports what optimal_token_baseline needs, and its state, kept."""
    c = config(model, "optimal_token_baseline", steps=10**6)
    workdir = tmp_path_factory.mktemp("runs") / "all"
    with rl_run.Run(c, rl.prepare(c, workdir), workdir) as run:
        run._baseline = run._make_sampler(run._plan.greedy, run._plan.env, c.rollout.prompts)
        yield run, [run.state], workdir


@pytest.mark.parametrize("name", list(estimators.ESTIMATORS))
def test_two_updates(model, opened, name):
    run, kept, workdir = opened
    c = config(model, name)
    with pytest.MonkeyPatch.context() as patch:
        plan = dataclasses.replace(run._plan, estimator=rl_plan.plan(c).estimator)
        patch.setattr(run, "_plan", plan)
        before = jax.device_get(kept[0].params)
        start = int(kept[0].step)
        c.steps = start + 2
        arrows = run.collect, run.select, run.estimate, run.learn, run.after
        kept[0] = rl.train(c, kept[0], run.tasks, *arrows)
    assert int(kept[0].step) == start + 2
    moved = jax.tree.map(lambda x, y: (x != y).any(), before, jax.device_get(kept[0].params))
    assert any(jax.tree.leaves(moved))
    rows = [row for row in read_rows(workdir / "metrics.jsonl")[0] if row["step"] >= start]
    assert len(rows) == 2 and all(row["optim/skipped"] == 0 for row in rows)
    assert all(np.isfinite(row["policy/loss"]) for row in rows)
    assert sum(row["optim/grad_norm"] for row in rows) > 0


@pytest.mark.parametrize("name", ["remax", "optimal_token_baseline"])
def test_a_whole_run_with_what_only_this_estimator_asks_for(model, tmp_path, name):
    """A greedy response a prompt; Σ π² from the sampler. Opened by the config alone."""
    rl.run(config(model, name), tmp_path)
    rows = read_rows(tmp_path / "metrics.jsonl")[0]
    assert len(rows) == 2 and all(row["optim/grad_norm"] > 0 for row in rows)
