"""Runs of agents: many turns with a real engine, grades of every kind, and resuming."""

import dataclasses
import functools

import jax
import pytest
import tiny
import tiny_tokenizers

from configs import base
from jaxrl.models import checkpoints
from jaxrl.parallel import mesh
from jaxrl.recipes import agent, agent_plan
from jaxrl.training import checkpoint
from jaxrl.training.metrics import SCHEMA, read_rows

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TOKENIZER = tiny_tokenizers.build(("<|im_start|>", "<|im_end|>"), CHATML, eos="<|im_end|>")
MODEL = dataclasses.replace(tiny.MODEL, context=512)
ENDS = "".join(map(chr, range(33, 123)))
CLOCK = ("time/", "tokens/per_second", "compile/", "run/")


@pytest.fixture(scope="module", autouse=True)
def cheap(compiled_once):
    """All runs compile the same programs; on one device, which is what two cores are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh, "make", functools.partial(mesh.make, devices=jax.devices()[:1]))
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    checkpoints.save(tiny.params(MODEL), MODEL, TOKENIZER, path)
    return path


def config(model, **changes):
    """Conversations of up to three short replies, four updates."""
    c = base.agent()
    c.steps = 4
    c.model.checkpoint = str(model)
    c.env.name = "tool_env:Talk"
    c.env.params = {"size": 6, "ends": ENDS}
    c.eval.params = {"size": 2}
    c.rollout.update(prompts=2, group=4, prompt=64, turns=3, tokens=96, reply=6, workers=1)
    c.engine.update(slots=8, pages=128, page=8, steps=6, chunk=32)
    c.learner.micro = 2
    c.optimizer.lr = 1e-3
    c.checkpoint.every = 1
    c.update_from_flattened_dict(changes)
    return c


def rows(workdir, name="metrics"):
    found, broken = read_rows(workdir / f"{name}.jsonl")
    assert not broken
    return [{k: v for k, v in row.items() if not k.startswith(CLOCK)} for row in found]


def params(workdir):
    abstract = jax.eval_shape(functools.partial(tiny.params, MODEL))
    return jax.device_get(checkpoint.load_params(workdir, abstract)[0])


TOURNAMENT = {
    "rollout.anchor": True,
    "reward.name": "tournament",
    "reward.sigma": 0.5,
    "advantage.name": "arena",
}


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    return workdir, agent.run(config(model, **TOURNAMENT), workdir)


def test_what_the_learner_computes_is_what_was_drawn_over_all_turns(whole):
    """The sampler's log-probs, anchors' too, against the learner's; and every turn is there."""
    found = rows(whole[0])
    assert [row["step"] for row in found] == [0, 1, 2, 3]
    for row in found:
        assert row["sampler/gap_max"] < 1e-4 and row["agent/turns"] > 1.5
        assert row["ending/answer"] + row["ending/turns"] > 0
        assert set(row) <= set(SCHEMA) and row["optim/skipped"] == 0
        assert row["tokens/trained"] == row["tokens/sampled"]
        assert sum(v for k, v in row.items() if k.startswith("ending/")) == pytest.approx(1)
        assert (row["judge/comparisons"], row["judge/calls"]) == (12, 24)  # 2 (N − 1) a group
        assert row["reward/mean"] == pytest.approx(0.5)  # quantiles


def test_episodes_and_tournaments_are_written_down(whole):
    shown, played = rows(whole[0], "rollouts"), rows(whole[0], "tournaments")
    for row in shown:
        assert len(row["pieces"]) == len(row["logp"]) == len(row["turn"]) == len(row["chosen"])
        assert [m["role"] for m in row["messages"][:2]] == ["user", "assistant"]
        said = "".join(p for p, mine in zip(row["pieces"], row["chosen"], strict=True) if mine)
        assert said.startswith(row["messages"][1]["content"][:3])
    assert [row["step"] for row in played] == [0, 1, 2, 3]
    for row in played:
        assert len(row["players"]) == 4 and len(row["matches"]) == 6
        assert row["topology"] == "single_elimination"
        assert sorted(p["rank"] for p in row["players"]) == [0, 1, 2, 3]


def test_evaluations_are_greedy_episodes(whole):
    assert [(e["step"], e["n"]) for e in whole[1]] == [(0, 2), (4, 2)]
    assert all(e["low"] <= e["reward"] <= e["high"] for e in whole[1])


def test_a_run_in_two_halves_equals_the_whole(model, whole, tmp_path):
    """To rounding: which requests share a program depends on when tools answer."""
    agent.run(config(model, steps=2, **TOURNAMENT), tmp_path)
    agent.run(config(model, **TOURNAMENT), tmp_path)
    tiny.assert_close(params(tmp_path), params(whole[0]), 1e-6)
    for name in ("metrics", "rollouts", "tournaments"):
        for got, want in zip(rows(tmp_path, name), rows(whole[0], name), strict=True):
            assert got.keys() == want.keys()
            for key, value in want.items():
                close = pytest.approx(value, abs=1e-4) if isinstance(value, float) else value
                assert got[key] == close or key in ("logp", "sampler/gap_max", "sampler/gap_mean")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(
            {"reward.name": "pointwise", "reward.sigma": 0.5, "learner.width": 180},
            marks=pytest.mark.slow,
        ),
        {"rollout.history": "rendered"},
    ],
    ids=["pointwise", "a sample a turn"],
)
def test_other_grades_and_other_samples_train_too(model, tmp_path, changes):
    agent.run(config(model, steps=1, **changes), tmp_path)
    (row,) = rows(tmp_path)
    assert row["optim/skipped"] == 0 and row["sampler/gap_max"] < 1e-4
    assert row["reward/utility"] > 1  # a reward for each reply


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"advantage.name": "arena"}, "reward.name='env', which ranks nobody"),
        ({"advantage.name": "gae"}, "which episodes do not have"),
        ({"reward.name": "elo"}, "reward.name = 'elo' is not known"),
        ({"reward.name": "pointwise", "reward.judge": "endpoint"}, "give the endpoint's address"),
        ({"rollout.prompt": 8}, "but rollout.prompt=8: raise"),
        ({"rollout.tokens": 600}, "rollout.prompt and rollout.tokens"),
        ({"rollout.turns": 0}, "rollout.turns=0: give more than 0"),
        ({"rollout.temperature": 0.0}, "equal episodes teach nothing"),
        ({"learner.width": 100}, "cannot hold one episode"),
        (
            {"learner.width": 200, "loss.aggregation": "prompt_mean"},
            "hold 1 of the 4 episodes of a group",
        ),
        ({"engine.pages": 0}, "engine.pages=0: give at least 1"),
        ({"engine.pages": 12}, "engine.pages=12"),
    ],
)
def test_settings_that_cannot_work_are_refused(model, changes, words):
    with pytest.raises((ValueError, KeyError)) as error:
        agent_plan.plan(config(model, **changes))
    assert words in str(error.value)
