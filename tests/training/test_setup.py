"""What a run starts from: shapes without weights, the state in its place, the run's own config."""

import json

import jax
import numpy as np
import pytest
import tiny
import tiny_embedder
import tiny_vl

from jaxrl.data import tokenizers
from jaxrl.models import checkpoints, embedder_files, forms, heads, lora, peft_files
from jaxrl.training import setup
from jaxrl.training.checkpoint import Checkpointer

ROWS = {"learner.micro": 8}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def base(model):
    changes = {"mesh.data": 2, "mesh.fsdp": 2, "mesh.tensor": 2}
    return setup.open_base(tiny.config(model, **changes), ROWS, updates=3)


def test_opening_a_base_reads_no_weights(model, monkeypatch):
    """A wrong setting must not cost the minutes that reading 8 GB takes."""
    monkeypatch.delattr(checkpoints, "load")
    changes = {"mesh.data": 2, "mesh.fsdp": 2, "mesh.tensor": 2}
    base = setup.open_base(tiny.config(model, **changes), ROWS, updates=3)
    assert base.model == tiny.MODEL and base.path == model
    assert isinstance(base.tokenizer, tokenizers.Tokenizer)
    assert all(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(base.abstract))
    assert dict(base.mesh.shape) == {"data": 2, "fsdp": 2, "context": 1, "tensor": 2}
    assert base.optimizer.steps == 3


def test_weights_go_straight_to_their_shards(base):
    params = base.load()
    for got, want, plan in zip(
        *map(jax.tree.leaves, (params, tiny.params(), base.abstract)), strict=True
    ):
        np.testing.assert_array_equal(got, want)
        assert got.sharding == plan.sharding
    assert params["layers"]["q"].addressable_shards[0].data.shape == (2, 8, 2, 4)


def test_adapters_start_from_peft_files_and_heads_from_zero(model, tmp_path):
    """The base is loaded apart: nothing of it is in what is trained."""
    how = lora.LoraConfig(2, 4.0, ("q", "down"))
    x = tiny.adapters(how)
    peft_files.save(x, tiny.MODEL, how, "base", tmp_path / "adapter")
    c = tiny.config(model, **{"mesh.fsdp": 2})
    c.model.lora.update(rank=2, alpha=4.0, targets=how.targets, adapter=str(tmp_path / "adapter"))
    base = setup.open_base(c, ROWS, updates=3, specs=heads.reward_specs)
    params = base.load()
    jax.tree.map(np.testing.assert_array_equal, params["layers"], x["layers"])
    assert not any(x.any() for x in jax.tree.leaves(params["scalar"])) and len(params) == 2
    same = lambda x, plan: x.sharding == plan.sharding and x.dtype == plan.dtype
    assert all(jax.tree.leaves(jax.tree.map(same, params, base.abstract)))
    whole = base.join(params, base.load_frozen())
    assert whole.keys() == heads.reward_specs(tiny.MODEL).keys()
    assert whole["layers"]["q"].scale == 2.0


def test_first_adapters_depend_on_the_seed_alone(model):
    c = tiny.config(model, **{"model.lora.rank": 2, "model.params": "bfloat16"})
    c.model.lora.targets = ("q",)
    one, same = (setup.open_base(c, ROWS, updates=n).load() for n in (1, 2))
    c.seed = 1
    other = setup.open_base(c, ROWS, updates=1).load()
    jax.tree.map(np.testing.assert_array_equal, one, same)
    assert (one["layers"]["q"]["a"] != other["layers"]["q"]["a"]).any()
    assert one["layers"]["q"]["a"].dtype == "bfloat16" and not one["layers"]["q"]["b"].any()


WORDLESS = {  # a model that writes no text, its tokenizer
    "an encoder": (tiny_embedder.ENCODER, tiny_embedder.wordpiece),
    "a vision-language model": (tiny_vl.MODEL, lambda: tiny_vl.TOKENIZER),
}


@pytest.fixture(scope="module", params=WORDLESS)
def wordless(request, tmp_path_factory):
    """(its kind, directory, config, parameters)."""
    c, tokenizer = WORDLESS[request.param]
    params, folder = tiny_embedder.params(forms.specs(c)), tmp_path_factory.mktemp("model") / "it"
    checkpoints.save(params, c, tokenizer(), folder)
    return request.param, folder, c, params


def test_any_model_with_a_form_can_be_the_base(wordless):
    """Parameters of an encoder and of a tower are split as the decoder's are, and none is lost."""
    _, folder, model, params = wordless
    c = tiny.config(folder, **{"mesh.data": 2, "mesh.fsdp": 2, "mesh.tensor": 2})
    base = setup.open_base(c, ROWS, updates=3, take=embedder_files.headless)
    assert base.model == model
    got = base.load()
    jax.tree.map(np.testing.assert_array_equal, got, params)
    same = lambda x, plan, place: x.sharding == plan.sharding == place
    assert all(jax.tree.leaves(jax.tree.map(same, got, base.abstract, base.places())))
    L, D, F = params["layers"]["up"].shape
    assert got["layers"]["up"].addressable_shards[0].data.shape == (L, D // 2, F // 2)


def test_adapters_of_a_wordless_model_are_those_of_its_decoder(wordless):
    kind, folder, _, params = wordless
    c = tiny.config(folder, **{"model.lora.rank": 2, "model.base": "int8"})
    opened = lambda: setup.open_base(c, ROWS, updates=3, take=embedder_files.headless)
    if kind == "an encoder":
        with pytest.raises(ValueError, match=r"an encoder, .*set model.lora.rank=0"):
            opened()
        return
    base = opened()
    assert base.abstract.keys() == {"layers"}
    whole = base.join(base.load(), base.load_frozen())
    assert whole.keys() == params.keys()
    assert whole["layers"]["q"].w.q.dtype == "int8" and whole["layers"]["q"].a.shape[-1] == 2


def test_recipes_that_write_text_refuse_a_model_that_cannot(wordless):
    kind, folder, _, _ = wordless
    with pytest.raises(ValueError, match=rf"model.checkpoint='.*/it': it is {kind}.* an embedder"):
        setup.open_base(tiny.config(folder), ROWS, updates=3)


def test_rows_are_split_over_data_and_fsdp(base):
    x = base.place_rows(np.zeros((3, 8, 5)), axis=1)
    assert x.addressable_shards[0].data.shape == (3, 2, 5)
    assert base.place_rows(np.zeros((8, 5))).addressable_shards[0].data.shape == (2, 5)


def test_a_run_starts_from_the_base_and_resumes_from_what_it_saved(base, tmp_path):
    with Checkpointer(tmp_path) as saver:
        state, host = setup.start_or_resume(base, saver)
        assert host is None and int(state.step) == 0
        same = lambda x, s: x.sharding.is_equivalent_to(s, x.ndim)
        assert all(jax.tree.leaves(jax.tree.map(same, state, base.shardings())))
        later = state.replace(step=state.step + 5)
        saver.save(later, {"tasks": {"at": 3}})
        state, host = setup.start_or_resume(base, saver)
    assert (int(state.step), host) == (5, {"tasks": {"at": 3}})
    jax.tree.map(np.testing.assert_array_equal, state.params, tiny.params())


def test_a_key_that_did_not_exist_then_is_a_change(model, tmp_path):
    """A run made by an older version may have meant something else."""
    c = tiny.config(model)
    setup.write_config(c, tmp_path)
    file = tmp_path / "config.json"
    old = json.loads(file.read_text())
    del old["learner"]["epochs"]
    file.write_text(json.dumps(old))
    with pytest.raises(ValueError, match=r"learner.epochs: None → 1"):
        setup.write_config(c, tmp_path)
