"""Scores of pairs: the softmax over two answers, from a head tied or not, and never without one."""

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest
import tiny

from jaxrl.data.reranking_prompts import Answers
from jaxrl.data.sequences import Sequences
from jaxrl.models import embedder, embedder_files, reranker

ANSWERS = Answers(yes=7, no=200)
ROWS = np.array([[4, 5, 6, 0, 0], [0, 9, 4, 5, 6]], np.int32)
VALID = np.array([[1, 1, 1, 0, 0], [0, 1, 1, 1, 1]], bool)
causal = jax.jit(embedder.causal, static_argnums=2)
score = jax.jit(partial(reranker.score, answers=ANSWERS), static_argnames="c")


@pytest.mark.parametrize("tied", [True, False])
def test_the_score_is_the_softmax_of_the_two_logits(tied):
    c = dataclasses.replace(tiny.MODEL, tied=tied)
    params = tiny.params(c)
    got = score(params, Sequences(ROWS, VALID), c=c)
    hidden = causal(params, Sequences(ROWS, VALID), c)
    for b, last in enumerate((2, 4)):
        logits = params["embed" if tied else "head"] @ np.asarray(hidden[b, last], np.float64)
        odds = np.exp(logits[[ANSWERS.yes, ANSWERS.no]])
        np.testing.assert_allclose(got[b], odds[0] / odds.sum(), atol=1e-5)
    assert abs(got[0] - got[1]) > 1e-4 and ((got > 0) & (got < 1)).all()


def test_a_model_without_a_head_embeds_and_gives_no_logits():
    """Qwen3-Embedding-8B: its embedding is not its head, so reading it as one would be junk."""
    c = embedder_files.headless(dataclasses.replace(tiny.MODEL, tied=False))
    params = tiny.params(c)
    assert c.headless and params["head"] is None
    vectors = embedder.embed(params, Sequences(ROWS, VALID), embedder.Config(c, "last"))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    with pytest.raises(ValueError, match=r"no output head \(lm_head.weight\): it is an embedder"):
        reranker.score(params, Sequences(ROWS, VALID), ANSWERS, c)


@pytest.mark.peers
@pytest.mark.parametrize("tied", [True, False])
def test_transformers_agrees(tied, tmp_path):
    """The recipe of Qwen3-Reranker's card: log-softmax over the two logits at the last token."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from jaxrl.models import checkpoints

    c = dataclasses.replace(tiny.MODEL, tied=tied, qk_norm=True)
    params = tiny.params(c)
    checkpoints.save(params, c, tiny.TOKENIZER, tmp_path / "model")
    peer = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    got = score(params, Sequences(ROWS[1:, 1:], VALID[1:, 1:]), c=c)
    with torch.no_grad():
        logits = peer(torch.asarray(ROWS[1:, 1:], dtype=torch.long)).logits[:, -1]
    two = torch.stack([logits[:, ANSWERS.no], logits[:, ANSWERS.yes]], 1)
    np.testing.assert_allclose(got, torch.softmax(two, 1)[:, 1].numpy(), atol=1e-5)
