"""Runs that train adapters, or parameters in bfloat16: two updates of each recipe, and resumes."""

import functools
import json

import jax
import numpy as np
import pytest
import tiny

from configs import base
from jaxrl.models import decoder, lora, spec
from jaxrl.parallel import mesh
from jaxrl.recipes import preference, rl, sft
from jaxrl.report import page
from jaxrl.training import checkpoint, session
from jaxrl.training.metrics import read_rows

pytestmark = pytest.mark.usefixtures("compiled_once", "one_device")
SMALL = lora.LoraConfig(2, 4.0, ("q", "down"))
LORA = {"model.lora.rank": 2, "model.lora.alpha": 4.0, "model.lora.targets": ("q", "down")}
INT8 = LORA | {"model.base": "int8"}
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
    """Half the compile; and no report, which other runs write."""
    alone = functools.partial(mesh.make, devices=jax.devices()[:1])
    monkeypatch.setattr(mesh, "make", alone)
    monkeypatch.setattr(page, "write", lambda workdir: None)


def train(recipe, files, workdir, **changes):
    """Two updates, both saved."""
    if recipe is rl:
        c = tiny.config(files / "model")
        c.eval.params, c.loss.kl_coef = {}, 0.1
    else:
        c = base.sft() if recipe is sft else base.preference()
        data = files / ("sft.jsonl" if recipe is sft else "pairs.jsonl")
        c.data.update(path=str(data), batch=4, max_length=16)
        c.learner.width, c.model.checkpoint, c.optimizer.lr = 32, str(files / "model"), 1e-2
    c.update_from_flattened_dict({"steps": 2, "checkpoint.every": 1} | changes)
    recipe.run(c, workdir)


def rows(workdir, name="metrics"):
    """The rows of a run, without what the clock says."""
    clock = ("time/", "tokens/per_second", "compile/count", "run/")
    found, _ = read_rows(workdir / f"{name}.jsonl")
    return [{k: v for k, v in row.items() if not k.startswith(clock)} for row in found]


def trained(workdir, specs, dtype="float32"):
    """What the newest checkpoint holds; refused if its tree or its types are others."""
    return jax.device_get(checkpoint.load_params(workdir, spec.abstract(specs, dtype))[0])


def saved_bits(workdir):
    """The checksum of every array in the checkpoint after two updates."""
    return json.loads((workdir / "checkpoints/2/host/metadata").read_text())["checksums"]


@pytest.mark.slow
def test_rl_with_adapters_on_an_int8_base(files, tmp_path, monkeypatch):
    """From ratio 1 and from the reference; nothing moves the base; a resumed run is the whole one.

    The sampler's merged weights are the learner's attached ones, and adapters come from the seed.
    """
    bases, enter = [], session.Session.__enter__

    def kept(self):
        bases.extend([enter(self), checkpoint.checksums(self.frozen)])
        return self

    with monkeypatch.context() as patch:
        patch.setattr(session.Session, "__enter__", kept)
        train(rl, files, tmp_path / "whole", **INT8)
    for row in rows(tmp_path / "whole"):
        assert row["sampler/gap_max"] < 1e-4 and abs(row["policy/kl"]) < 1e-6
        assert row["optim/grad_norm"] > 0 and row["optim/skipped"] == 0
    first, second = (row["policy/ref_kl"] for row in rows(tmp_path / "whole"))
    assert first == 0 < second
    opened, before = bases
    assert checkpoint.checksums(opened.frozen) == before and len(before) > 9
    x = trained(tmp_path / "whole", lora.specs(tiny.MODEL, SMALL))  # and nothing else is saved
    assert all(np.any(leaf) for leaf in jax.tree.leaves(x))
    for steps in (1, 2):
        train(rl, files, tmp_path / "parts", **INT8 | {"steps": steps})
    assert saved_bits(tmp_path / "parts") == saved_bits(tmp_path / "whole")
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


@pytest.mark.slow
def test_sft_of_bf16_parameters_resumes_bit_for_bit(files, tmp_path):
    """Rounded by keys of (seed, step): at this rate few would move if rounded to the nearest."""
    for run, counts in (("whole", [2]), ("parts", [1, 2])):
        for steps in counts:
            changes = {"model.params": "bfloat16", "optimizer.lr": 2e-4, "steps": steps}
            train(sft, files, tmp_path / run, **changes)
    assert saved_bits(tmp_path / "parts") == saved_bits(tmp_path / "whole")
    assert all(np.isfinite(x) for row in rows(tmp_path / "whole") for x in row.values())
    got = trained(tmp_path / "whole", decoder.specs(tiny.MODEL), "bfloat16")
    start = jax.tree.map(lambda x: x.astype(got["embed"].dtype), tiny.params())
    moved = jax.tree.map(lambda x, y: (x != y).mean(), got, start)
    assert 0 < moved["layers"]["gate"] < 0.9 and moved["norm"] > 0


def test_sft_with_adapters_saves_them_alone(files, tmp_path):
    train(sft, files, tmp_path, **INT8)
    x = trained(tmp_path, lora.specs(tiny.MODEL, SMALL))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(x))
    assert all(row["optim/grad_norm"] > 0 for row in rows(tmp_path))


def test_dpo_with_adapters_compares_with_the_base(files, tmp_path):
    train(preference, files, tmp_path, **LORA)
    first, second = (row["preference/margin"] for row in rows(tmp_path))
    assert abs(first) < 1e-5 < abs(second)
    x = trained(tmp_path, lora.specs(tiny.MODEL, SMALL))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(x))
