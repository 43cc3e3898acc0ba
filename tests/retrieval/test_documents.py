"""A corpus file read by offset: blank lines, endings, wide characters; what is broken is told."""

import json

import pytest

from jaxrl.data.contents import Content
from jaxrl.retrieval import documents


def test_contents_come_from_their_own_lines_whatever_lies_between(tmp_path):
    """Offsets count bytes: a line of two-byte characters shifted all that followed it, once."""
    rows = [{"_id": "é", "text": "ü" * 9}, {"id": 7, "title": "T", "content": "c"}]
    rows += [{"_id": "x", "text": "last", "title": None}]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    file = tmp_path / "mine.jsonl"
    text = "\ufeff" + lines[0] + "\r\n\n" + lines[1] + "\n  \n" + lines[2]
    file.write_bytes(text.encode())
    corpus = documents.open_corpus(file)
    assert corpus.ids == ["é", "7", "x"] and corpus.skipped == {}
    assert corpus.read(0, 3) == ["ü" * 9, "T c", "last"]
    assert corpus.read(2, 3) == ["last"] and corpus.read(1, 1) == []


def test_pictures_are_seen_from_the_folder_of_the_file(tmp_path):
    """A line without a file stays a text, so that one's own encoders get what they got."""
    (tmp_path / "a.png").touch()
    (tmp_path / "b.mp4").touch()
    rows = [{"_id": "1", "image": "a.png"}, {"_id": "2", "text": "t", "image": None}]
    rows += [{"_id": "3", "title": "T", "content": "c", "image": ["a.png"] * 2, "video": "b.mp4"}]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    corpus = documents.open_corpus(tmp_path / "mine.jsonl")
    image, video = str(tmp_path / "a.png"), str(tmp_path / "b.mp4")
    wanted = [Content("", (image,)), "t", Content("T c", (image, image), (video,))]
    assert corpus.read(0, 3) == wanted


@pytest.mark.parametrize(
    "line, told",
    [
        (b"{", "not JSON"),
        (b"[]", "a JSON list"),
        (b'{"_id": "a\xff", "text": "x"}', "not UTF-8"),
        (b'{"text": "x"}', "no key '_id' or 'id'"),
        (b'{"_id": "a"}', "no key 'text' or 'content'"),
        (b'{"_id": "a", "text": 3}', "the text 3 is no text"),
        (b'{"_id": "a", "text": "x", "title": []}', "the title"),
        (b'{"_id": true, "text": "x"}', "the id True"),
        (b'{"_id": "", "text": "x"}', "the id is empty"),
        (b'{"_id": "a", "text": "\\ud800"}', "surrogates"),
        (b'{"_id": "a", "text": "  "}', "neither title nor text"),
        (b'{"_id": "a", "image": "no.png"}', "image '.*no.png' is no file"),
        (b'{"_id": "a", "text": "x", "video": [3]}', "give a path or a list of paths"),
        (b'{"_id": "a", "text": 3, "image": "no.png"}', "the text 3 is no text"),
        (b'{"_id": "good", "text": "x"}', "stands twice"),
    ],
)
def test_a_broken_line_is_named_or_counted(tmp_path, line, told):
    file = tmp_path / "mine.jsonl"
    file.write_bytes(b'{"_id": "good", "text": "fine"}\n' + line + b"\n")
    with pytest.raises(ValueError, match="line 2: .*" + told):
        documents.open_corpus(file)
    corpus = documents.open_corpus(file, bad="skip")
    assert corpus.ids == ["good"] and sum(corpus.skipped.values()) == 1


def test_an_error_lists_some_of_many(tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text("{\n" * 50)
    with pytest.raises(ValueError, match="50 broken lines") as caught:
        documents.open_corpus(file)
    assert "and 30 more" in str(caught.value)


@pytest.mark.parametrize("ids, told", [([], "no document"), (["", "b"], "''"), ([1, 2], "id 1")])
def test_ids_that_are_none_are_refused(ids, told):
    with pytest.raises(ValueError, match=told):
        documents.held(ids, ["x"] * len(ids))
    with pytest.raises(ValueError, match="3 ids for 1"):
        documents.held("abc", ["x"])
