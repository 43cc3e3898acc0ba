"""Texts and pictures in one list: each its own vector, bad files told, an index over them."""

import json
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_media
import tiny_vl
from absl import logging

from jaxrl.data import contents, embedding_sequences, reranking_prompts, sequences
from jaxrl.data.contents import Content
from jaxrl.data.media import MediaError
from jaxrl.models import checkpoints, embedder, reranker
from jaxrl.retrieval import build, documents, encode, encoders, index, pair_scores, search

FIXTURE = Path(__file__).parents[1] / "fixtures" / "qwen3_vl"
TOKENIZER, C = tiny_media.CHAT, embedder.Config(tiny_vl.MODEL, "last", "qwen3_vl", limit=288)
SEES = {"tower": C.tower, "media": tiny_media.MEDIA}
PAD = {"pad_id": TOKENIZER.pad_id, "tower": C.tower, "width": 288, "patches": (2, 64)}


@pytest.fixture(scope="module")
def params():
    return checkpoints.load(FIXTURE, C.model)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return tiny_media.files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def mixed(files):
    """Texts, pictures, a clip, and all of them."""
    one, two = files["one.png"], files["two.png"]
    found = [Content("he ab", (one,)), "he", Content("", (two,), (files["clip.mkv"],))]
    return [*found, Content("ab"), Content("", (one,))]


def padded(items, count=5):
    """Rows in one batch, whatever they are."""
    read = embedding_sequences.render(TOKENIZER, "qwen3_vl", items, 288, **SEES)
    return sequences.pad(read.rows, count=count, **PAD)


def test_vectors_equal_those_of_one_batch(params, files, mixed, monkeypatch):
    """Texts apart, pictures a few at a time, in their order; a bad file takes its own alone."""
    monkeypatch.setattr(encode, "AT_ONCE", 2)
    want = np.asarray(jax.jit(embedder.embed, static_argnames="c")(params, padded(mixed), c=C))
    broken = Content("he", (files["broken.png"],))
    with pytest.raises(MediaError, match=r"broken\.png cannot be read"):
        encode.encode(params, [broken], C, TOKENIZER, media=tiny_media.MEDIA)
    given = [*mixed[:3], broken, *mixed[3:], ""]
    how = {"media": tiny_media.MEDIA, "bad": "skip"}
    found = encode.encode(params, given, C, TOKENIZER, **how)
    np.testing.assert_allclose(np.delete(found.vectors, [3, 6], 0), want, atol=1e-5)
    assert np.isnan(found.vectors[3]).all() and "broken.png" in found.unread[3]
    assert (found.cut, found.empty, found.bad, len(found.unread)) == ([], [6], [], 1)
    assert ((want @ want.T)[~np.eye(5, dtype=bool)] < 1 - 1e-4).all()


def test_a_reranker_sees(params, files, mixed):
    """Pictures on either side, in their order."""
    pairs = [("he", mixed[4]), (mixed[4], "he")]
    how = {"limit": 288, "media": tiny_media.MEDIA}
    got = pair_scores.scorer(params, C.model, TOKENIZER, "qwen3_vl", **how)(pairs)
    read = embedding_sequences.render_pairs(TOKENIZER, "qwen3_vl", pairs, 288, **SEES)
    answers = reranking_prompts.answers(TOKENIZER)
    score = jax.jit(partial(reranker.score, answers=answers, c=C.model))
    want = score(params, sequences.pad(read.rows, count=5, **PAD))
    np.testing.assert_allclose(got, want[:2], atol=1e-5)
    assert abs(got[0] - got[1]) > 1e-4


def encoder_of(params, bad):
    """As encoders.open_encoder makes one of a directory."""
    side = partial(encode.encoder, params, C, TOKENIZER)
    return encoders.Encoder(side(bad=bad), side(), C.width, "tiny")


def test_a_corpus_with_pictures_becomes_an_index_that_finds_them(params, files, tmp_path):
    """A picture finds itself; what cannot be read has no row; nothing encoded is lost."""
    folder = Path(files["one.png"]).parent
    rows = [{"_id": name, "image": f"{name}.png"} for name in ("one", "broken", "two", "no")]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match=r"line 4: image '.*no.png' is no file"):
        documents.open_corpus(folder)
    corpus = documents.open_corpus(folder, bad="skip")
    assert corpus.skipped == {"malformed": 1} and corpus.ids == ["one", "broken", "two"]

    out = tmp_path / "index"
    with pytest.raises(MediaError, match=r"broken\.png"):
        build.build(out, corpus, encoder_of(params, "refuse"), build.IndexConfig(shard=1))
    assert len(index.read_header(out)["shards"]) == 1  # the first shard stays
    sees, said = encoder_of(params, "skip"), []
    c = build.IndexConfig(shard=1, not_finite="count")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging, "warning", lambda form, *args: said.append(form % args))
        counts = build.build(out, corpus, sees, c)
    assert (counts["kept"], counts["encoded"], counts["absent"]) == (1, 2, 1)
    assert len(said) == 1 and said[0].startswith("skipped: ") and "broken.png" in said[0]
    made = index.open_index(out, encoder=sees)
    assert made.absent.tolist() == [1]
    find = search.finder(made)
    for n, name in ((0, "one.png"), (2, "two.png")):
        hits = find(sees.queries([Content("", (files[name],))]), 2)
        assert set(hits.numbers[0]) == {0, 2} and hits.numbers[0, 0] == n
        np.testing.assert_allclose(hits.scores[0, 0], 1, atol=1e-5)


def test_a_model_of_text_alone_says_so(params, mixed):
    """Decoders under the same template: the picture is refused, not left out."""
    c = embedder.Config(tiny_vl.TEXT, "last", "qwen3_vl")
    with pytest.raises(ValueError, match="the model reads text alone"):
        encode.encode(params, mixed, c, TOKENIZER, bad="skip")


def test_what_a_checksum_and_a_person_see_of_a_content(files):
    """Not its folder: a corpus may move. A picture of another size is another document."""
    content = contents.Content(" a\ncat ", (files["one.png"],), ("gone/x.mp4",))
    assert (
        documents.shown(content) == "[one.png] [x.mp4] a cat" and documents.shown("a\nb") == "a b"
    )
    text, (image,), (video,) = documents.described(content)
    size = Path(files["one.png"]).stat().st_size
    assert (text, image, video) == (" a\ncat ", ["one.png", size], ["x.mp4", None])
