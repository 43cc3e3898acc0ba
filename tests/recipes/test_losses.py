"""Every objective in the real loop: two updates of configs/tiny.py, on and off policy.

The arrows of one run serve them all; only the compiled update is each objective's own.
"""

import functools

import jax
import numpy as np
import pytest
import tiny

from jaxrl.algos import objectives
from jaxrl.data import sources
from jaxrl.parallel import mesh
from jaxrl.recipes import rl, rl_plan, rl_run
from jaxrl.training.metrics import SCHEMA

WIDE = {"loss.eps_low": 0.5, "loss.eps_high": 0.5}  # one update at this rate moves far
NEEDS = {
    "dr_grpo": {"loss.max_length": 4},
    "decoupled_ppo": {"learner.old_logp": "learner"},
    "gspo": WIDE,
    "clip_cov": {"loss.cov_low": -1.0, "loss.cov_share": 0.2},
    "kl_cov": {"loss.cov_share": 0.2},
}
LOSSES = [{"loss.name": name} | NEEDS.get(name, {}) for name in objectives.OBJECTIVES]
LOSSES += [
    {"loss.correction": "icepop", "learner.old_logp": "learner", "loss.kl_coef": 0.1},
    {"loss.top_entropy": 0.3, "loss.aggregation": "token_sum"},
]


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """(config, Plan) of a loss, on one device."""
    model = tiny.write(tmp_path_factory.mktemp("model") / "tiny")
    alone = functools.partial(mesh.make, devices=jax.devices()[:1])

    def make(loss):
        changes = {"learner.epochs": 2, "rollout.prompts": 4, "learner.micro": 2}
        c = tiny.config(model, **changes | loss)
        c.eval.params = {}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mesh, "make", alone)
            return c, rl_plan.plan(c)

    return make


@pytest.fixture(scope="module")
def arrows(make, tmp_path_factory):
    """An open run."""
    with rl_run.Run(*make({}), tmp_path_factory.mktemp("run")) as r:
        yield r


@pytest.mark.parametrize("loss", LOSSES, ids=lambda x: "-".join(map(str, x.values())))
def test_every_objective_trains_two_steps(make, arrows, loss):
    """Nothing non-finite, something learned, and only metrics that are documented."""
    c, p = make(loss)
    learner, found = rl_run.make_learner(p), []
    after = lambda state, i, traj, groups, adv, stats, logp: found.append(stats)
    r, tasks = arrows, sources.task_batches(len(p.env), c.rollout.prompts, c.seed)
    state = rl.train(c, tiny.state(p.base), tasks, r.collect, r.select, r.estimate, learner, after)
    assert int(state.step) == 4 and int(state.skipped) == 0 and len(found) == 2
    for row in found:
        assert set(row) <= set(SCHEMA)
        assert all(np.isfinite(value) for value in row.values())
    assert found[0]["optim/grad_norm"] > 0  # the same first batch for all, and it has a signal
    if "policy/selected" in found[0]:
        assert 0 < found[0]["policy/selected"] < 1
    if loss.get("learner.old_logp") == "learner":
        np.testing.assert_allclose(found[0]["correction/weight"], 1, atol=1e-3)
