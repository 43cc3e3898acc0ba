"""An agent in one command: the expert writes, the policy imitates, then it is reinforced."""

import functools
import json

import jax
import pytest

from configs import base
from jaxrl.parallel import mesh
from jaxrl.recipes import stages
from jaxrl.training.metrics import read_rows


@pytest.fixture(scope="module", autouse=True)
def cheap(compiled_once):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh, "make", functools.partial(mesh.make, devices=jax.devices()[:1]))
        yield


def config(**changes):
    """Searches in Open-Travel by a policy too small to learn them: every stage, real tools."""
    c = base.stages()
    c.start.update(vocab=1500, width=16, layers=2, heads=2, feed_forward=16, context=4096)
    c.expert.params = {"split": "sft", "size": 6}
    c.expert.held_out = 2
    c.sft.steps = 2
    c.sft.data.update(batch=2, max_length=1300)
    c.rl.steps = 1
    c.rl.env.params = {"split": "rl", "size": 4, "only": ("search",), "brief": True}
    c.rl.eval.params = {"split": "test", "size": 2}
    c.rl.rollout.update(prompts=2, group=2, prompt=256, turns=2, tokens=64, reply=8, workers=1)
    c.rl.rollout.schemas = False
    c.rl.engine.update(slots=4, pages=64, steps=4, chunk=64)
    c.rl.reward.name, c.rl.advantage.name = "tournament", "arena"
    c.update_from_flattened_dict(changes)
    return c


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "stages"
    return workdir, stages.run(config(), workdir)


@pytest.mark.slow
def test_all_stages_run_and_leave_their_files(done):
    workdir, evals = done
    names = {p.name for p in workdir.iterdir()}
    assert names == {"config.json", "expert.jsonl", "expert_held_out.jsonl", "start", "sft",
                     "policy", "rl"}  # fmt: skip
    assert [(row["step"], row["n"]) for row in evals] == [(0, 2), (1, 2)]
    assert (workdir / "sft/report.html").exists() and (workdir / "rl/report.html").exists()
    losses = [row["loss"] for row in read_rows(workdir / "sft/eval.jsonl")[0]]
    assert losses[1] < losses[0]


@pytest.mark.slow
def test_the_expert_made_real_calls_on_tasks_of_its_own(done):
    rows = [json.loads(line) for line in (done[0] / "expert.jsonl").read_text().splitlines()]
    held_out = (done[0] / "expert_held_out.jsonl").read_text().splitlines()
    assert (len(rows), len(held_out)) == (4, 2)
    for row in rows:
        said, heard = row["messages"][1], row["messages"][2]
        assert said["tool_calls"][0]["function"]["name"] == "around_search"
        assert "rating" in heard["content"] and row["messages"][-1]["content"].startswith("PICK: ")


@pytest.mark.slow
def test_what_is_done_is_not_done_again(done):
    workdir, evals = done
    before = {p: p.stat().st_mtime_ns for p in workdir.rglob("*.safetensors")}
    assert stages.run(config(), workdir) == evals
    assert {p: p.stat().st_mtime_ns for p in workdir.rglob("*.safetensors")} == before


def test_settings_of_either_stage_are_refused_before_any_is_trained(tmp_path):
    for n, (changes, words) in enumerate(
        [
            ({"start.width": 20}, "start.width=20"),
            ({"expert.tasks": 7}, "expert.tasks=7 and expert.held_out=2: there are 6"),
            ({"sft.data.max_length": 100}, "lines cannot be used"),
            ({"rl.rollout.prompt": 20}, "but rollout.prompt=20"),
        ]
    ):
        with pytest.raises(ValueError) as error:
            stages.prepare(config(**changes), tmp_path / str(n))
        assert words in str(error.value)
        assert not (tmp_path / str(n) / "sft/metrics.jsonl").exists()
