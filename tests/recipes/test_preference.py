"""Preferences: margins widen, a resumed run is the whole one, bad files are refused."""

import functools
import json

import jax
import numpy as np
import pytest
import tiny

from configs import base
from jaxrl.algos import preferences
from jaxrl.models import decoder, heads, spec
from jaxrl.parallel import mesh
from jaxrl.recipes import preference
from jaxrl.training import checkpoint, pairs, setup, step
from jaxrl.training.metrics import read_rows

LINES = [
    {"prompt": f"{a}+{b}=", "chosen": str(a + b), "rejected": "the" * a + "?"}
    for a in range(1, 5)
    for b in (2, 7)
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a tiny checkpoint and eight pairs."""
    folder = tmp_path_factory.mktemp("preference")
    tiny.write(folder / "model")
    write(folder / "data.jsonl", LINES)
    return folder


def write(path, rows):
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return path


def config(files, **changes):
    c = base.preference()
    c.steps, c.model.checkpoint, c.optimizer.lr = 4, str(files / "model"), 1e-2
    c.data.update(path=str(files / "data.jsonl"), batch=4, max_length=16)
    c.learner.update(width=64, micro=1)
    c.update_from_flattened_dict(changes)
    return c


@pytest.fixture
def one_device(monkeypatch):
    alone = functools.partial(mesh.make, devices=jax.devices()[:1])
    monkeypatch.setattr(mesh, "make", alone)


def test_a_shared_prompt_gives_the_log_probs_of_two_sequences():
    """The trunk is computed once; a response must not see the other, nor shift its positions."""
    (x,) = pairs.render(tiny.TOKENIZER, LINES[-1])
    both, used = pairs.pack([x], width=32, scored=32, rows=1)
    assert used == 1 and both.mask.sum() == sum(map(len, x.responses))
    score = jax.jit(lambda p, r: step.log_probs(p, r, tiny.MODEL)[0])
    got = np.asarray(score(tiny.params(), both))[0]
    for s, (response, side) in enumerate(zip(x.responses, x.sides, strict=True)):
        alone = pairs.Preference(x.prompt, (response,), (side,))
        rows, _ = pairs.pack([alone], width=32, scored=32, rows=1)
        want = np.asarray(score(tiny.params(), rows))[0][: len(response)]
        here = (both.sample[0] == s) & (both.mask[0] > 0)
        np.testing.assert_allclose(got[here], want, atol=1e-5)
        assert (both.adv[0][here] == side).all()


QUICK = ("dpo", "kto", "bradley_terry")  # with a reference, without pairs, with a head


@pytest.mark.parametrize(
    "name",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in preferences.PREFERENCES],
)
def test_the_margin_grows(files, tmp_path, one_device, name):
    held_out = {"data.eval_path": str(files / "data.jsonl"), "checkpoint.every": 0}
    evals = preference.run(config(files, **{"loss.name": name, "steps": 6} | held_out), tmp_path)
    before, after = evals
    assert after["margin"] > before["margin"] and after["loss"] < before["loss"]
    assert 0 <= before["preferred"] <= after["preferred"] <= 1
    rows = read_rows(tmp_path / "metrics.jsonl")[0]
    for row in rows:
        assert all(value is not None and np.isfinite(value) for value in row.values())
        np.testing.assert_allclose(
            row["preference/margin"],
            row["preference/chosen"] - row["preference/rejected"],
            atol=1e-5,
        )
    if name in preferences.NEED_A_REFERENCE:
        assert abs(before["margin"]) < 1e-5  # the policy is its own reference
    assert "held-out loss" in (tmp_path / "report.html").read_text()


def test_a_reward_model_reads_the_end_of_each_response(files, tmp_path, one_device):
    """The recipe's rows and the head's own function agree on a trained model."""
    c = config(files, **{"loss.name": "bradley_terry"})
    preference.run(c, tmp_path)
    params, _ = checkpoint.load_params(tmp_path, spec.abstract(heads.reward_specs(tiny.MODEL)))
    assert (np.asarray(params["scalar"]["weight"]) != 0).all()
    (x,) = pairs.render(tiny.TOKENIZER, LINES[0])
    rows, _ = pairs.pack([x], width=32, scored=32, rows=1, last_only=True)
    assert rows.mask.sum() == 2
    got = step.rewards(params, rows, tiny.MODEL)[0][0, :2]
    for number, response in zip(got, x.responses, strict=True):
        tokens = np.concatenate([x.prompt, response])[None]
        flat = np.zeros_like(tokens)
        place = np.arange(tokens.shape[1])[None]
        want = heads.reward(params, tokens, place, flat, flat + 1, tiny.MODEL)
        np.testing.assert_allclose(number, want[0], atol=1e-5)


@pytest.mark.slow
def test_a_resumed_run_is_the_uninterrupted_one(files, one_device):
    """With KTO, which has the most to carry: order, pairing, reference."""
    changes = {
        "loss.name": "kto",
        "data.eval_path": str(files / "data.jsonl"),
        "eval.every": 2,
    }
    whole, parts = files / "whole", files / "parts"
    preference.run(config(files, **changes), whole)
    for steps in (2, 4):
        evals = preference.run(config(files, steps=steps, **changes), parts)
    abstract = spec.abstract(decoder.specs(tiny.MODEL))
    got, want = (checkpoint.load_params(run, abstract)[0] for run in (parts, whole))
    jax.tree.map(np.testing.assert_array_equal, got, want)
    clock = ("time/", "compile/", "tokens/per_second", "run/")
    still = lambda run: [
        {key: value for key, value in row.items() if not key.startswith(clock)}
        for row in read_rows(run / "metrics.jsonl")[0]
    ]
    assert still(parts) == still(whole) and len(still(whole)) == 4
    assert evals == read_rows(whole / "eval.jsonl")[0]
    assert [row["step"] for row in evals] == [0, 2, 4]


@pytest.mark.slow
def test_micro_batches_and_the_mesh_change_nothing(files, monkeypatch, tmp_path):
    """KTO's baseline is of the whole batch, whatever holds it."""
    found = []
    for micro, devices in ((8, 8), (2, 1)):
        alone = functools.partial(mesh.make, devices=jax.devices()[:devices])
        with monkeypatch.context() as patch:
            patch.setattr(setup.mesh, "make", alone)
            changes = {"loss.name": "kto", "steps": 2, "learner.micro": micro, "learner.width": 32}
            preference.run(config(files, **changes), tmp_path / f"{micro}-{devices}")
        rows = read_rows(tmp_path / f"{micro}-{devices}" / "metrics.jsonl")[0]
        found.append([[row[k] for k in ("policy/loss", "preference/margin")] for row in rows])
    np.testing.assert_allclose(*found, rtol=1e-3, atol=1e-6)


TALK = [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    "rows, name, words",
    [
        ([], "dpo", "holds no rows: give one JSON object a line"),
        ([{"prompt": "a", "chosen": "b"}], "dpo", r"line 1: keys \['chosen', 'prompt'\]"),
        ([{"prompt": "a", "chosen": "b", "rejected": "b"}], "dpo", "line 1: chosen and rejected"),
        ([{"prompt": "a", "chosen": "b", "rejected": ""}], "dpo", "line 1: rejected is empty"),
        ([{"prompt": "a", "chosen": "b", "rejected": 1}], "dpo", "line 1: rejected is no string"),
        ([{"prompt": "", "chosen": "b", "rejected": "c"}], "dpo", "line 1: prompt is empty"),
        (
            [LINES[0], "", {"prompt": "a" * 20, "chosen": "b", "rejected": "c"}],
            "dpo",
            "line 3: [0-9]+ tokens",
        ),
        ([{"prompt": "a", "response": "b", "label": True}], "dpo", "line 1: one response"),
        ([{"prompt": "a", "response": "b", "label": 1}], "kto", "line 1: label is 1"),
        ([{"prompt": "a", "response": "b", "label": True}], "kto", "holds one response"),
        ([{"prompt": [], "chosen": "b", "rejected": "c"}], "dpo", "line 1: prompt: messages is no"),
        (
            [
                {"prompt": [*TALK, {"role": "assistant", "content": "x"}]}
                | {"chosen": "b"}
                | {"rejected": "c"}
            ],
            "dpo",
            "line 1: prompt ends with a message of the assistant",
        ),
    ],
)
def test_files_that_cannot_be_learned_are_refused(files, tmp_path, rows, name, words):
    path = write(tmp_path / "bad.jsonl", rows)
    with pytest.raises(ValueError, match=words):
        preference.plan(
            config(files, **{"data.path": str(path), "loss.name": name, "learner.micro": 8})
        )


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"data.path": ""}, r"data.path='' is no file"),
        ({"data.eval_path": "nowhere.jsonl"}, r"data.eval_path='nowhere.jsonl' is no file"),
        ({"data.max_length": 65}, r"data.max_length=65 .*the model's context of 64.*lower it"),
        ({"learner.width": 31}, r"learner.width=31 .* give 32"),
        ({"data.batch": 0}, r"data.batch=0"),
        ({"data.batch": 1, "loss.name": "kto"}, r"data.batch=1: give at least 2"),
        ({"learner.micro": 4}, r"learner.micro=4"),
        ({"loss.gamma": 1.0}, r"loss.gamma=1.0"),
    ],
)
def test_settings_that_cannot_work_are_refused(files, changes, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        preference.plan(config(files, **{"learner.micro": 8} | changes))
