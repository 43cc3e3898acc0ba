"""What the sampler draws, and says about it: checked against the learner's forward pass."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxrl.data import packing
from jaxrl.models import decoder
from jaxrl.ops import distributions
from jaxrl.records import Trajectory
from jaxrl.sampling.decode import SampleConfig
from jaxrl.sampling.sampler import Sampler
from jaxrl.training import step

LAW = distributions.Law(temperature=0.7, top_p=0.9)
PROMPTS = [[5, 9, 200], [7], [30, 31, 32, 33, 34, 35], [8, 9]]
R, G = 6, 2
KEY = jax.random.key(3)
GREEDY = distributions.Law(temperature=0.0)
QWEN = dataclasses.replace(tiny.MODEL, qkv_bias=True, qk_norm=True, tied=False)


class NoEnd:
    """The tiny tokenizer with an end that cannot be drawn by chance."""

    eos_ids = ()
    token_bytes = staticmethod(tiny.TOKENIZER.token_bytes)


def make(model=tiny.MODEL, law=LAW, prompts=4, bucket=8, group=G, max_new=R, stop=(), prefill=0):
    how = SampleConfig(group, max_new, law, prefill=prefill)
    return Sampler(model, NoEnd, how, prompts=prompts, buckets=(bucket,), stop=stop)


@pytest.fixture(scope="module")
def params():
    return jax.tree.map(jnp.asarray, tiny.params())


@pytest.fixture(scope="module")
def sampler():
    return make()


@pytest.fixture(scope="module")
def drawn(sampler, params):
    return sampler(params, PROMPTS, KEY)


def test_a_prompt_computed_in_parts_gives_the_same_samples(params, drawn):
    got = make(prefill=2)(params, PROMPTS, KEY)[2]
    np.testing.assert_array_equal(got.tokens, drawn[2].tokens)
    np.testing.assert_allclose(got.logp, drawn[2].logp, atol=1e-5)
    np.testing.assert_allclose(got.full_logp, drawn[2].full_logp, atol=1e-5)


def trajectory(tokens, valid, samples):
    """What `collect` makes of samples, without its texts."""
    mask = samples.mask
    return Trajectory(
        prompt_tokens=tokens,
        prompt_valid=valid,
        tokens=samples.tokens,
        valid=mask,
        mask=mask,
        logp=samples.logp,
        full_logp=samples.full_logp,
        group=(np.arange(len(mask)) // (len(mask) // len(tokens))).astype(np.int32),
        stopped=samples.stopped,
        task=np.arange(len(tokens)),
    )


def learners_logp(params, traj, model):
    """log_probs of the packed rows at the law's temperature, back in [B, R]."""
    zeros = np.zeros(traj.tokens.shape, np.float32)
    per_token = dict.fromkeys(packing.PER_TOKEN, zeros)
    groups = np.arange(len(traj.task))
    rows, _, where = packing.pack(traj, per_token, groups=groups, width=48, scored=48, rows=4)
    score = jax.jit(lambda p, r: step.log_probs(p, r, model, temperature=LAW.temperature)[0])
    return np.where(where >= 0, np.asarray(score(params, rows)).reshape(-1)[where], 0)


@pytest.mark.parametrize(
    "model", [tiny.MODEL, QWEN, tiny.EXPERTS], ids=["llama", "qwen", "experts"]
)
def test_full_log_probs_equal_the_learners(model, sampler, params):
    """Temperature 0.7, top-p 0.9, a cache, left padding: still one model."""
    if model != tiny.MODEL:
        sampler, params = make(model), tiny.params(model)
    traj = trajectory(*sampler(params, PROMPTS, KEY))
    gap = np.abs(learners_logp(params, traj, model) - traj.full_logp)
    assert gap.max() < 1e-4
    assert traj.full_logp[traj.mask].std() > 0.5


def full_logits(params, ids):
    """[len(ids), V]: the plain forward pass of one sequence, padded to a fixed width."""
    width = 16
    row = jnp.zeros((1, width), jnp.int32).at[0, : len(ids)].set(jnp.asarray(ids))
    position, zeros = jnp.arange(width)[None], jnp.zeros((1, width), jnp.int32)
    return _logits(params, row, position, zeros)[0, : len(ids)]


@jax.jit
def _logits(params, row, position, zeros):
    states = decoder.forward(params, row, position, zeros, zeros + 1, tiny.MODEL)
    return states @ decoder.head(params).T


def test_log_probs_of_the_law_equal_the_law_of_the_full_forward_pass(drawn, params):
    """What is recorded is what was sampled: renormalised over the tokens that top-p keeps."""
    _, _, samples = drawn
    cut = 0
    for b, tokens in enumerate(samples.tokens):
        prompt = PROMPTS[b // G]
        logits = full_logits(params, [*prompt, *tokens])[len(prompt) - 1 : -1]
        law = np.asarray(distributions.law_logp(logits, LAW))
        want = law[np.arange(R), tokens]
        np.testing.assert_allclose(samples.logp[b], want, atol=1e-4)
        cut += np.isneginf(law).sum()
    assert cut > 0
    assert (samples.logp >= samples.full_logp - 1e-6).all()


def test_greedy_decoding_equals_the_argmax_of_full_forward_passes(params):
    _, _, samples = make(law=GREEDY, group=1)(params, PROMPTS, KEY)
    for prompt, tokens in zip(PROMPTS, samples.tokens, strict=True):
        ids = list(prompt)
        for _ in range(R):
            ids.append(int(full_logits(params, ids)[-1].argmax()))
        assert ids[len(prompt) :] == tokens.tolist()


def test_a_longer_bucket_changes_nothing(drawn, params):
    _, _, want = drawn
    _, _, got = make(bucket=13)(params, PROMPTS, KEY)
    np.testing.assert_array_equal(got.tokens, want.tokens)
    np.testing.assert_allclose(got.full_logp, want.full_logp, atol=1e-5)


def test_a_rows_draws_depend_on_no_neighbour(sampler, drawn, params):
    """Not on who stands beside it, nor on rows that only fill the program, nor on their number."""
    _, _, want = drawn
    others = [[1, 2, 3, 4, 5, 6, 7, 8], PROMPTS[1], [99], [98, 97]]
    _, _, beside = sampler(params, others, KEY)
    _, _, fewer = sampler(params, PROMPTS[:2], KEY)
    _, _, more = make(prompts=5)(params, PROMPTS, KEY)
    row = slice(G, 2 * G)  # the samples of the second prompt
    for got in (beside, fewer, more):
        np.testing.assert_array_equal(got.tokens[row], want.tokens[row])
    assert len(fewer.tokens) == 2 * G
    assert (beside.tokens[:G] != want.tokens[:G]).any()


def test_samples_of_a_group_differ_and_keys_decide(sampler, drawn, params):
    """All samples of a group once began with the same token in a well-known code base."""
    _, _, samples = drawn
    assert len({tuple(row) for row in samples.tokens}) == len(PROMPTS) * G
    _, _, again = sampler(params, PROMPTS, KEY)
    np.testing.assert_array_equal(again.tokens, samples.tokens)
    _, _, other = sampler(params, PROMPTS, jax.random.key(4))
    assert (other.tokens != samples.tokens).any()


def test_first_tokens_follow_the_law(params):
    """512 samples of one prompt: frequencies of the likely tokens within five standard errors."""
    law = distributions.Law(temperature=0.7, top_k=4)
    group = 512
    _, _, samples = make(law=law, prompts=1, group=group, max_new=1)(params, [PROMPTS[0]], KEY)
    logp = distributions.law_logp(full_logits(params, PROMPTS[0])[-1:], law)
    p = np.exp(np.asarray(logp, np.float64)[0])
    share = np.bincount(samples.tokens[:, 0], minlength=len(p)) / group
    assert set(np.flatnonzero(share)) <= set(np.flatnonzero(p))
    assert (np.abs(share - p) <= 5 * np.sqrt(p * (1 - p) / group)).all()


def test_a_row_ends_at_its_stop_string_and_the_loop_with_the_last_row(params, monkeypatch):
    """The stop token counts, nothing after it does, and no step is run for rows that are done."""
    free = make(law=GREEDY, group=1, prompts=2, max_new=20)
    _, _, want = free(params, PROMPTS[:2], KEY)
    pieces = [tiny.TOKENIZER.token_bytes()[i] for i in want.tokens[0]]
    text = next(p.decode() for p in pieces[2:] if p.isascii() and p)
    steps = []
    plain = distributions.draw

    def counted(*args):
        jax.debug.callback(lambda: steps.append(1))
        return plain(*args)

    monkeypatch.setattr(distributions, "draw", counted)
    stopping = make(law=GREEDY, group=1, prompts=2, max_new=20, stop=(text,))
    _, _, got = stopping(params, PROMPTS[:1], KEY)
    jax.effects_barrier()
    length = next(n for n in range(20) if text.encode() in b"".join(pieces[: n + 1])) + 1
    assert got.stopped.tolist() == [True]
    np.testing.assert_array_equal(got.mask[0], np.arange(20) < length)
    np.testing.assert_array_equal(got.tokens[0, :length], want.tokens[0, :length])
    for array in (got.tokens, got.logp, got.full_logp):
        assert (array[0, length:] == 0).all()
    assert len(steps) == length < 20
    assert not want.stopped.any() and want.mask.all()
