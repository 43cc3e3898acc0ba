"""Config files: each builds, and what needs no weights is checked as a run would check it."""

import importlib
import json
import pathlib

import jax
import pytest

from configs import base, base_embedders, grpo_math
from jaxrl.algos import estimators, objectives
from jaxrl.envs import table
from jaxrl.models import families, forms
from jaxrl.ops import attention_kernels, distributions
from jaxrl.parallel import mesh
from jaxrl.sampling import sampler
from jaxrl.sampling.decode import SampleConfig
from jaxrl.training import optimizer

FILES = sorted(p.stem for p in (pathlib.Path(__file__).parents[1] / "configs").glob("[a-z]*.py"))
EMBEDDERS = {  # a key that no other kind has -> the kind
    "second": base_embedders.e2rank,
    "student": base_embedders.distill,
    "embedder": base_embedders.embed,
    "reranker": base_embedders.reranker,
}
QWEN3_17B = {  # the config.json of Qwen/Qwen3-1.7B, as far as the forward pass reads it
    "model_type": "qwen3",
    "vocab_size": 151936,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "rope_theta": 1000000,
    "tie_word_embeddings": True,
    "max_position_embeddings": 40960,
}


def keys(tree, path=()):
    """The leaves of a config as paths; a free dict, such as env.params, is one of them."""
    for key, value in tree.items():
        here = (*path, key)
        yield from keys(value, here) if hasattr(value, "items") and key != "params" else [here]


@pytest.mark.parametrize("name", [f for f in FILES if not f.startswith("base")])
def test_a_config_builds_and_adds_no_key(name):
    """A key that base.py does not list would be read by nobody."""
    module = importlib.import_module(f"configs.{name}")
    c = module.get_config()
    whole = _kind(c)()
    assert set(keys(c.to_dict())) == set(keys(whole.to_dict()))
    assert c.is_locked
    assert f"--config=configs/{name}.py" in module.__doc__


def _kind(c):
    if "rl" in c:
        return base.stages
    if "engine" in c:
        return base.agent
    for key, kind in EMBEDDERS.items():
        if key in c:
            return kind
    return base.rl if "rollout" in c else base.preference if "loss" in c else base.sft


@pytest.fixture(scope="module")
def math(tmp_path_factory):
    """grpo_math on a file of one task, and the model it names."""
    c = grpo_math.get_config()
    path = tmp_path_factory.mktemp("gsm8k") / "train.jsonl"
    path.write_text(json.dumps({"question": "2 + 3?", "answer": "2 + 3 = 5\n#### 5"}) + "\n")
    c.env.params.path = c.eval.params.path = str(path)
    return c, families.from_hf(QWEN3_17B)


def test_grpo_math_passes_the_checks_that_need_no_weights(math):
    c, model = math
    estimators.check(estimators.EstimatorConfig(**c.advantage), c.rollout.group)
    objectives.ObjectiveConfig(**c.loss)
    optimizer.OptimizerConfig(**c.optimizer, steps=c.steps)
    law = distributions.Law(c.rollout.temperature, c.rollout.top_k, c.rollout.top_p)
    SampleConfig(c.rollout.group, c.rollout.max_new, law)
    sampler.check_lengths(model, c.rollout.buckets, c.rollout.max_new)
    rows = {"learner.micro": c.learner.micro, "rollout.prompts": c.rollout.prompts}
    rows |= {"eval.prompts": c.eval.prompts}
    mesh.check(mesh.make(**c.mesh), forms.specs(model), rows=rows)


def test_grpo_math_rewards_a_boxed_answer(math):
    c, _ = math
    env = table.build(c.env.name, c.env.params.to_dict())
    state, messages = env.reset(0)
    assert messages[-1].content.endswith("/no_think")
    assert env.step(state, "So it is \\boxed{5}.").reward == 1
    assert env.step(state, "So it is 5.").reward == 0


def test_grpo_math_rows_hold_a_group_and_fit_the_kernel(math):
    """A width that is no multiple of 128 would quietly train on the slow path."""
    c, model = math
    group = c.rollout.group * c.rollout.max_new
    assert c.learner.width >= max(c.rollout.buckets) + group and c.learner.scored >= group
    shape = lambda heads: jax.ShapeDtypeStruct((1, c.learner.width, heads, model.N), c.model.dtype)
    ways = c.mesh.data * c.mesh.fsdp, c.mesh.tensor
    path = attention_kernels.choose("tpu", shape(model.H), shape(model.K), ways=ways)
    assert path == "splash"
