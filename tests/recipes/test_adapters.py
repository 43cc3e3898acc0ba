"""Runs that train adapters, or parameters in bfloat16: two updates of each recipe, and resumes."""

import functools
import json

import jax
import numpy as np
import pytest
import tiny

from configs import base
from jaxrl.models import decoder, heads, lora, spec
from jaxrl.parallel import mesh
from jaxrl.recipes import preference, rl, sft
from jaxrl.training import checkpoint, session
from jaxrl.training.metrics import read_rows

pytestmark = pytest.mark.usefixtures("compiled_once", "one_device")
SMALL = lora.LoraConfig(2, 4.0, ("q", "down"))
LORA = {"model.lora.rank": 2, "model.lora.alpha": 4.0, "model.lora.targets": ("q", "down")}
INT8 = LORA | {"model.base": "int8"}
BF16 = {"model.params": "bfloat16"}
LINES = [
    {"prompt": f"{a}+{b}=", "response": str(a + b), "chosen": str(a + b), "rejected": "?"}
    for a in range(4)
    for b in (2, 7)
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a tiny checkpoint, and lines for either recipe."""
    folder = tmp_path_factory.mktemp("adapters")
    tiny.write(folder / "model")
    for name, keys in (
        ("sft", ("prompt", "response")),
        ("pairs", ("prompt", "chosen", "rejected")),
    ):
        rows = [json.dumps({key: line[key] for key in keys}) + "\n" for line in LINES]
        (folder / f"{name}.jsonl").write_text("".join(rows))
    return folder


@pytest.fixture
def one_device(monkeypatch):
    alone = functools.partial(mesh.make, devices=jax.devices()[:1])
    monkeypatch.setattr(mesh, "make", alone)


def train(recipe, files, workdir, **changes):
    """Two updates, both saved."""
    if recipe is rl:
        c = tiny.config(files / "model")
        c.eval.params = {}
    else:
        c = base.sft() if recipe is sft else base.preference()
        data = files / ("sft.jsonl" if recipe is sft else "pairs.jsonl")
        c.data.update(path=str(data), batch=4, max_length=16)
        c.learner.width, c.model.checkpoint, c.optimizer.lr = 32, str(files / "model"), 1e-2
    c.update_from_flattened_dict({"steps": 2, "checkpoint.every": 1} | changes)
    recipe.run(c, workdir)


def rows(workdir, name="metrics"):
    """The rows of a run, without what the clock says."""
    clock = ("time/", "tokens/per_second", "compile/count")
    found, _ = read_rows(workdir / f"{name}.jsonl")
    return [{k: v for k, v in row.items() if not k.startswith(clock)} for row in found]


def trained(workdir, specs, dtype="float32"):
    """What the newest checkpoint holds; refused if its tree or its types are others."""
    return jax.device_get(checkpoint.load_params(workdir, spec.abstract(specs, dtype))[0])


@pytest.mark.parametrize(
    "recipe, changes",
    [(rl, INT8 | {"loss.kl_coef": 0.1}), (sft, INT8), (sft, BF16), (preference, LORA)],
    ids=["rl-int8", "sft-int8", "sft-bf16", "dpo"],
)
def test_a_run_in_two_halves_equals_the_whole(files, tmp_path, recipe, changes):
    """Bit for bit: adapters drawn and parameters rounded by keys of (seed, step) alone."""
    train(recipe, files, tmp_path / "whole", **changes)
    for steps in (1, 2):
        train(recipe, files, tmp_path / "parts", **changes | {"steps": steps})
    for part in ("params", "rest"):
        found = [
            json.loads((tmp_path / run / "checkpoints/2/host/metadata").read_text())
            for run in ("whole", "parts")
        ]
        sums = [{k: v for k, v in x["checksums"].items() if k.startswith(part)} for x in found]
        assert sums[0] == sums[1] and sums[0]
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")
    assert (tmp_path / "whole" / "report.html").exists()


def test_rl_starts_at_ratio_one_and_at_the_reference(files, tmp_path, monkeypatch):
    """The sampler's merged weights are the learner's attached ones; nothing moves the base."""
    bases = []
    enter = session.Session.__enter__

    def kept(self):
        enter(self)
        bases.extend([self, checkpoint.checksums(self.frozen)])
        return self

    monkeypatch.setattr(session.Session, "__enter__", kept)
    train(rl, files, tmp_path, **INT8 | {"loss.kl_coef": 0.1})
    first, second = rows(tmp_path)
    for row in (first, second):
        assert row["sampler/gap_max"] < 1e-4 and abs(row["policy/kl"]) < 1e-6
        assert row["optim/grad_norm"] > 0 and row["optim/skipped"] == 0
    assert first["policy/ref_kl"] == 0 < second["policy/ref_kl"]
    opened, before = bases
    assert checkpoint.checksums(opened.frozen) == before and len(before) > 9
    x = trained(tmp_path, lora.specs(tiny.MODEL, SMALL))  # nothing else is in the checkpoint
    assert all(np.any(leaf) for leaf in jax.tree.leaves(x))


def test_a_reward_model_trains_its_head_beside_the_adapters(files, tmp_path):
    train(preference, files, tmp_path, **LORA | {"loss.name": "bradley_terry"})
    x = trained(tmp_path, lora.specs(tiny.MODEL, SMALL) | {"scalar": heads.specs(tiny.MODEL)})
    assert np.any(x["scalar"]["weight"]) and np.any(x["layers"]["q"]["b"])


def test_bf16_parameters_are_stored_so_and_all_move(files, tmp_path):
    """lr is 1/10 of the step between neighbours of most of them: to the nearest, few would."""
    train(sft, files, tmp_path, **BF16 | {"optimizer.lr": 2e-4})
    rows_ = rows(tmp_path)
    assert all(np.isfinite(value) for row in rows_ for value in row.values())
    got = trained(tmp_path, decoder.specs(tiny.MODEL), "bfloat16")
    start = jax.tree.map(lambda x: x.astype(got["embed"].dtype), tiny.params())
    moved = jax.tree.map(lambda x, y: (x != y).mean(), got, start)
    assert 0 < moved["layers"]["gate"] < 0.9 and moved["norm"] > 0
