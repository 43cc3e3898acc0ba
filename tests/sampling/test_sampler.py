"""The ladder of compiled programs: which one serves a batch, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxrl.sampling import sampler as samplers
from jaxrl.sampling.decode import SampleConfig
from jaxrl.sampling.sampler import Sampler, check_lengths, left_pad
from jaxrl.training.clock import Clock


def make(buckets=(4, 8), prompts=2, max_new=3):
    c = SampleConfig(group=2, max_new=max_new)
    return Sampler(tiny.MODEL, tiny.TOKENIZER, c, prompts=prompts, buckets=buckets)


def test_left_pad():
    tokens, valid = left_pad([[1, 2], [3]], rows=3, T=3)
    np.testing.assert_array_equal(tokens, [[0, 1, 2], [0, 0, 3], [0, 0, 0]])
    np.testing.assert_array_equal(valid, tokens > 0)


def test_the_ladder_compiles_once_and_the_shortest_bucket_serves(caplog):
    """Each program is named in the log: a compile of minutes must not look like a hang."""
    sampler, params = make(buckets=(8, 4)), jax.tree.map(jnp.asarray, tiny.params())
    with caplog.at_level("INFO", logger=samplers.__name__):
        sampler.compile(jax.eval_shape(lambda: params))
    for bucket in (4, 8):
        assert f"2 prompts of {bucket} tokens compiled" in caplog.text
    key = jax.random.key(0)
    sampler(params, [[1]], key)
    clock = Clock()
    for prompts, T in (([[1, 2], [3, 4, 5, 6]], 4), ([[1] * 5, [2]], 8), ([[7] * 8], 8)):
        tokens, valid, samples = sampler(params, prompts, key)
        assert tokens.shape == valid.shape == (len(prompts), T)
        assert samples.tokens.shape == (2 * len(prompts), 3)
        assert valid.sum(1).tolist() == [len(p) for p in prompts]
    clock.close()
    assert clock.read()["compile/count"] == 0


def test_a_prompt_beyond_the_ladder_is_refused_before_any_compile():
    with pytest.raises(ValueError, match=r"9 tokens, rollout.buckets=\(4, 8\).*longer bucket"):
        make()(tiny.params(), [[1], [2] * 9], jax.random.key(0))


@pytest.mark.parametrize(
    "buckets, max_new, words",
    [
        ((), 3, r"rollout.buckets=\(\).*at least 1"),
        ((0, 4), 3, r"rollout.buckets=\(0, 4\).*at least 1"),
        ((4, 62), 3, r"rollout.buckets\[-1\]=62 and rollout.max_new=3.*context of 64.*lower"),
    ],
)
def test_ladders_that_the_model_cannot_hold_are_refused(buckets, max_new, words):
    with pytest.raises(ValueError, match=words):
        make(buckets, max_new=max_new)


def test_a_ladder_may_fill_the_context_to_the_last_position():
    check_lengths(tiny.MODEL, (61,), 3)


@pytest.mark.parametrize("key", ["group", "max_new"])
def test_samplers_of_nothing_are_refused(key):
    with pytest.raises(ValueError, match=f"rollout.{key}=0: give at least 1"):
        SampleConfig(**{key: 0})
