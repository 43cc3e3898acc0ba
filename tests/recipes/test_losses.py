"""Every objective in the real loop: two updates of configs/tiny.py, off policy in the second."""

import functools

import jax
import numpy as np
import pytest
import tiny
from jax.experimental.compilation_cache import compilation_cache

from jaxrl.algos import objectives
from jaxrl.parallel import mesh
from jaxrl.recipes import rl
from jaxrl.training.metrics import read_rows

NEEDS = {
    "dr_grpo": {"loss.max_length": 4},
    "decoupled_ppo": {"learner.old_logp": "learner"},
    "clip_cov": {"loss.cov_low": -1.0, "loss.cov_share": 0.2},
    "kl_cov": {"loss.cov_share": 0.2},
    "sft": {},
}
LOSSES = [{"loss.name": name} | NEEDS.get(name, {}) for name in objectives.OBJECTIVES]
LOSSES += [
    {"loss.correction": "icepop", "learner.old_logp": "learner", "loss.kl_coef": 0.1},
    {"loss.top_entropy": 0.3, "loss.aggregation": "token_sum"},
]


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    """The sampler is the same in all these runs: keep it on disk for this module."""
    settings = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {key: getattr(jax.config, key) for key in settings}
    for key, value in settings.items():
        jax.config.update(key, value)
    compilation_cache.reset_cache()
    yield
    for key, value in before.items():
        jax.config.update(key, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("model") / "tiny")


@pytest.mark.parametrize("loss", LOSSES, ids=lambda x: "-".join(map(str, x.values())))
def test_every_objective_trains_two_steps(model, tmp_path, monkeypatch, loss):
    """Nothing non-finite, something learned, and only metrics that are documented."""
    alone = functools.partial(mesh.make, devices=jax.devices()[:1])
    monkeypatch.setattr(mesh, "make", alone)
    c = tiny.config(model, **{"learner.epochs": 2, "rollout.prompts": 4} | loss)
    c.eval.params = {}
    rl.run(c, tmp_path)
    rows, broken = read_rows(tmp_path / "metrics.jsonl")
    assert len(rows) == 2 and not broken
    for row in rows:
        assert all(value is not None and np.isfinite(value) for value in row.values())
        assert row["optim/grad_norm"] > 0 and row["optim/skipped"] == 0
    if "policy/selected" in rows[0]:
        assert 0 < rows[0]["policy/selected"] < 1
    if loss.get("learner.old_logp") == "learner":
        np.testing.assert_allclose(rows[0]["correction/weight"], 1, atol=1e-3)
