"""Embedders learn what to find; neither micro-batches, nor a mesh, nor a resume change a run."""

import functools
import json

import jax
import numpy as np
import pytest
import tiny
import tiny_embed_run
import tiny_embedder
import tiny_run

from configs import base_embedders
from jaxrl.models import checkpoints, decoder, encoder, spec
from jaxrl.parallel import mesh
from jaxrl.recipes import distill, e2rank, embed, reranker
from jaxrl.retrieval import encoders
from jaxrl.training import checkpoint, setup
from jaxrl.training.metrics import read_rows

WORDS = ["sky", "sea", "sun", "fog", "ice", "oak", "elm", "ash"]
PAIRS = [
    {"query": word, "positives": [f"{word[::-1]}!"], "negatives": [f"{word}?", f"{word}.."]}
    for word in WORDS
]
LISTS = [
    {"query": word, "document": [f"{word}?", f"{word[::-1]}!", f"{word}.."], "ranking": [2, 3, 1]}
    for word in WORDS
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a tiny decoder whose tokenizer knows a chat, and rows."""
    folder = tmp_path_factory.mktemp("embed")
    checkpoints.save(tiny.params(CHATTY), CHATTY, tiny_embedder.CHAT, folder / "model")
    write(folder / "pairs.jsonl", PAIRS)
    write(folder / "lists.jsonl", LISTS)
    return folder


CHATTY = tiny.dataclasses.replace(tiny.MODEL, V=tiny_embedder.CHAT.vocab_size, context=512)


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def config(files, c=None, rows="pairs", **changes):
    c = c or base_embedders.embed()
    c.steps, c.model.checkpoint, c.optimizer.lr = 4, str(files / "model"), 1e-2
    c.data.update(path=str(files / f"{rows}.jsonl"), batch=4, documents=3)
    c.update_from_flattened_dict(changes)
    return c


@pytest.fixture
def one_device(monkeypatch):
    monkeypatch.setattr(mesh, "make", functools.partial(mesh.make, devices=jax.devices()[:1]))


def test_what_belongs_together_is_found(files, tmp_path, one_device):
    """Prefixes and few bits are learned beside the whole; the embedder that is left is the one that
    was evaluated."""
    c = config(files, steps=20, **{"loss.dims": (16, 8), "loss.formats": ("int8", "binary")})
    c.data.eval_path = c.data.path
    before, after = embed.run(c, tmp_path)
    assert after["ndcg@10"] > before["ndcg@10"] and after["n"] == len(PAIRS)
    assert after["examples"][0]["query"] == "sky"
    rows = read_rows(tmp_path / "metrics.jsonl")[0]
    assert rows[-1]["policy/loss"] < rows[0]["policy/loss"]
    assert rows[-1]["embed/accuracy"] >= rows[0]["embed/accuracy"]
    found = encoders.open_encoder(str(tmp_path / "embedder"))
    scores = found.queries(WORDS) @ found.documents([p["positives"][0] for p in PAIRS]).T
    assert (scores.argmax(1) == np.arange(len(WORDS))).mean() > 0.5
    trained = setup.spec.abstract(decoder.specs(CHATTY) | {"steps": _scalars("16", "8")})
    saved, _ = checkpoint.load_params(tmp_path, trained)
    assert all(float(x) != 0 for x in saved["steps"].values())  # the gradient reaches them


def _scalars(*names):
    return {name: spec.Spec((), (), "zeros") for name in names}


def test_e2rank_learns_the_order_of_a_list_in_two_stages(files, tmp_path, one_device):
    c = base_embedders.e2rank()
    config(files, c.first, steps=2)
    config(files, c.second, rows="lists", steps=12)
    c.second.data.update(eval_path=c.second.data.path, prompt_length=256)
    c.second.eval.shown = 3
    evals = e2rank.run(c, tmp_path)
    rows = read_rows(tmp_path / "second" / "metrics.jsonl")[0]
    assert rows[-1]["embed/rank_net"] < rows[0]["embed/rank_net"]
    assert rows[-1]["embed/rank_accuracy"] >= rows[0]["embed/rank_accuracy"]
    assert {row["name"] for row in evals} == {"held_out", "held_out, reranked"}
    again = e2rank.run(c, tmp_path)  # all is done: nothing is trained again
    assert again == evals and len(read_rows(tmp_path / "first" / "metrics.jsonl")[0]) == 2


def test_a_reranker_says_yes_to_the_positive_and_teaches_an_embedder(files, tmp_path, one_device):
    write_reranker(tmp_path / "model")
    (tmp_path / "pairs.jsonl").write_text((files / "pairs.jsonl").read_text())
    how = {"data.length": 320, "optimizer.lr": 2e-3}
    c = config(tmp_path, base_embedders.reranker(), steps=12, **how)
    c.data.eval_path = c.data.path
    before, after = reranker.run(c, tmp_path / "teacher")
    assert after["mrr@10"] >= before["mrr@10"]
    rows = read_rows(tmp_path / "teacher" / "metrics.jsonl")[0]
    assert rows[-1]["policy/loss"] < rows[0]["policy/loss"]

    c = base_embedders.distill()
    c.teacher.update(checkpoint=str(tmp_path / "teacher" / "reranker"), length=320)
    config(tmp_path, c.student, steps=8, **{"optimizer.lr": 2e-3})
    distill.run(c, tmp_path / "distilled")
    scored = read_rows(tmp_path / "distilled" / "scored.jsonl")[0]
    assert len(scored) == len(PAIRS) and all(len(row["scores"]) == 3 for row in scored)
    losses = read_rows(tmp_path / "distilled" / "student" / "metrics.jsonl")[0]
    assert losses[-1]["policy/loss"] < losses[0]["policy/loss"]


def write_reranker(path):
    tokenizer = tiny_embedder.tiny_tokenizers.build(
        (*tiny_embedder.SPECIALS, "yes", "no"), eos="<|endoftext|>"
    )
    c = tiny.dataclasses.replace(CHATTY, V=tokenizer.vocab_size)
    checkpoints.save(tiny.params(c), c, tokenizer, path)


def test_an_encoder_trains_as_a_decoder_does(tmp_path, one_device):
    """MiniLM's kind: no head, learned positions, mean pooling."""
    c = tiny_embedder.ENCODER
    tokenizer = tiny_embedder.wordpiece()
    checkpoints.save(tiny_embedder.params(encoder.specs(c)), c, tokenizer, tmp_path / "model")
    rows = [{"query": "the cat", "positives": ["the mat"]}, {"query": "sat on", "positives": ["!"]}]
    write(tmp_path / "pairs.jsonl", rows)
    made = config(tmp_path, **{"data.batch": 2, "data.documents": 1})
    made.data.update(query_length=8, document_length=8)
    embed.run(made, tmp_path / "run")
    losses = [row["policy/loss"] for row in read_rows(tmp_path / "run" / "metrics.jsonl")[0]]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_a_resumed_run_is_the_uninterrupted_one(files, tmp_path, one_device):
    """Draws of negatives depend on (seed, step), and the order of rows is saved."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    changes = {"data.documents": 2, "data.eval_path": str(files / "pairs.jsonl")}
    changes["eval.every"] = 2
    embed.run(config(files, **changes), whole)
    for steps in (2, 4):
        evals = embed.run(config(files, steps=steps, **changes), parts)
    abstract = spec.abstract(decoder.specs(CHATTY))
    got, want = (checkpoint.load_params(run, abstract)[0] for run in (parts, whole))
    jax.tree.map(np.testing.assert_array_equal, got, want)
    assert [row["step"] for row in evals] == [0, 2, 4]


@pytest.mark.slow
def test_micro_batches_and_the_mesh_change_nothing(files, monkeypatch, tmp_path):
    """Negatives come from the whole batch, whatever holds it."""
    found = []
    for batch, micro, devices in ((8, 0, 8), (8, 2, 1), (8, 0, 1)):
        alone = functools.partial(mesh.make, devices=jax.devices()[:devices])
        where = tmp_path / f"{micro}-{devices}"
        with monkeypatch.context() as patch:
            patch.setattr(setup.mesh, "make", alone)
            changes = {"steps": 2, "learner.micro": micro, "data.batch": batch}
            embed.run(config(files, **changes), where)
        rows = read_rows(where / "metrics.jsonl")[0]
        found.append([[row[k] for k in ("policy/loss", "optim/grad_norm")] for row in rows])
    for other in found[1:]:
        np.testing.assert_allclose(found[0], other, rtol=1e-3)


@pytest.mark.slow
def test_two_processes_train_and_find_as_one_does(files, tmp_path, one_device):
    """What is evaluated and left is of all devices' parameters, read in one process."""
    started = tiny_run.start_two(
        files, tmp_path / "two", cache=tmp_path / "compiled", config=tiny_embed_run.__file__
    )
    codes = tiny_run.wait(started, seconds=600)
    assert codes == [0, 0], (tmp_path / "two.1").read_text()[-2000:]
    c = tiny_embed_run.get_config(files)
    c.mesh.fsdp = 1
    embed.run(c, tmp_path / "one")
    runs = [tmp_path / name for name in ("one", "two")]
    one, two = (checkpoints.load(run / "embedder", CHATTY) for run in runs)
    tiny.assert_close(two, one, 1e-5)
    one, two = (read_rows(run / "eval.jsonl")[0] for run in runs)
    assert len(one) == len(two) == 2
    for mine, theirs in zip(two, one, strict=True):
        assert mine["ndcg@10"] == pytest.approx(theirs["ndcg@10"])
    losses = [[row["policy/loss"] for row in read_rows(run / "metrics.jsonl")[0]] for run in runs]
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.slow
def test_adapters_alone_are_trained(files, tmp_path, one_device):
    """LoRA with the targets of Qwen3-VL-Embedding; the embedder that is left has them merged."""
    lora = {"rank": 2, "alpha": 2.0, "targets": ("q", "k", "v", "gate", "up", "down")}
    c = config(files, steps=8)
    c.model.lora.update(lora)
    embed.run(c, tmp_path)
    losses = [row["policy/loss"] for row in read_rows(tmp_path / "metrics.jsonl")[0]]
    assert losses[-1] < losses[0]
    base, made = (checkpoints.load(p, CHATTY) for p in (files / "model", tmp_path / "embedder"))
    same = jax.tree.map(lambda x, y: bool((x == y).all()), base, made)
    assert same["embed"] and same["layers"]["o"] and not same["layers"]["q"]


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"data.batch": 0}, "data.batch=0"),
        ({"learner.micro": 3}, "learner.micro=3: give a divisor of data.batch=4"),
        ({"loss.name": "infonce"}, "loss.name='infonce'"),
        (
            {"loss.name": "e2rank", "data.prompt_length": 256},
            "8 of 8 rows have no scores and no ranking",
        ),
        ({"loss.dims": (32,)}, "loss.dims=.*32 is beyond"),
        ({"data.query_length": 1024}, "data.query_length=1024"),
        ({"data.path": "nowhere.jsonl"}, "nowhere.jsonl"),
        ({"embedder.pooling": "max"}, "pooling='max'"),
    ],
)
def test_bad_settings_are_refused(files, one_device, changes, words):
    with pytest.raises((ValueError, KeyError, OSError), match=words):
        embed.embed_plan.plan(config(files, **changes))
