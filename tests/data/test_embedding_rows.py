"""Rows of embedders: three forms become Examples; what is broken or doubled is told."""

import json
import os
import re

import pytest

from jaxrl.data import content_json, embedding_rows
from jaxrl.data.contents import Content, Example

PLAIN = {"query": "q", "positives": ["p"], "negatives": ["n", "m"]}
RANKED = {"query": "q", "document": ["a", "b", "c"], "ranking": [3, 1, 2]}
PAIR = {"text": "one", "other": "two", "score": 3}


def file(folder, *rows):
    path = folder / "some.jsonl"
    texts = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def texts(example):
    return [document.text for document in example.documents]


def told(folder, *rows):
    with pytest.raises(ValueError) as error:
        embedding_rows.read(file(folder, *rows))
    return str(error.value)


def test_each_positive_is_an_example_without_the_others(tmp_path):
    """Another positive of the same query as a negative teaches that it is none."""
    row = PLAIN | {"positives": ["p", "o"], "scores": [4, 3, 2, 1.5], "instruction": "Find."}
    found, counts = embedding_rows.read(file(tmp_path, row | {"source": "squad"}))
    own = {"instruction": "Find.", "source": "squad"}
    documents = lambda first: tuple(map(Content, (first, "n", "m")))
    assert found == [
        Example(Content("q"), documents("p"), target=(4.0, 2.0, 1.5), **own),
        Example(Content("q"), documents("o"), target=(3.0, 2.0, 1.5), **own),
    ]
    assert not any(counts.values())


def test_what_stands_twice_is_left_out_with_its_score_and_counted(tmp_path):
    row = {"query": "q", "positives": ["p", "p", "o"], "negatives": ["n", "o", "n", "m", "p"]}
    scores = [10, 11, 12, 1, 2, 3, 4, 5]
    found, counts = embedding_rows.read(file(tmp_path, row | {"scores": scores}))
    assert [texts(x) for x in found] == [["p", "n", "m"], ["o", "n", "m"]]
    assert [x.target for x in found] == [(10.0, 1.0, 4.0), (12.0, 1.0, 4.0)]
    assert counts == {
        "repeated positives": 1,
        "repeated negatives": 1,
        "negatives that are positives": 2,
    }


def test_a_positive_of_the_query_in_another_line_is_no_negative(tmp_path):
    """Files with one positive a line, and negatives mined for each, say both of one document."""
    rows = [
        {"query": "q", "positives": ["p"], "negatives": ["n", "o"], "scores": [9, 1, 2]},
        {"query": "q", "positives": ["o"], "negatives": ["p", "m"], "scores": [8, 3, 4]},
        {"query": "r", "positives": ["x"], "negatives": ["p"], "scores": [7, 5]},
        {"query": "q", "positives": ["y"], "negatives": ["p"], "scores": [6, 0], "source": "t"},
    ]
    found, counts = embedding_rows.read(file(tmp_path, *rows))
    assert [texts(x) for x in found] == [["p", "n"], ["o", "m"], ["x", "p"], ["y", "p"]]
    assert [x.target for x in found] == [(9, 1), (8, 4), (7, 5), (6, 0)]
    assert counts["negatives that are positives"] == 2


def test_a_ranking_puts_the_best_first_and_targets_are_minus_the_rank(tmp_path):
    """In best-first order the place of a document would tell its rank to a listwise prompt."""
    found, _ = embedding_rows.read(file(tmp_path, RANKED))
    assert texts(found[0]) == ["c", "a", "b"] and found[0].target == (-1.0, -2.0, -3.0)
    row = RANKED | {"document": ["a", "b", "c", "d"], "ranking": [2, 4, 3, 1]}
    found, _ = embedding_rows.read(file(tmp_path, row))
    assert texts(found[0]) == ["b", "a", "c", "d"]
    assert found[0].target == (-1.0, -4.0, -3.0, -2.0)


def test_of_equal_documents_in_a_ranking_the_better_one_stays(tmp_path):
    row = {"query": "q", "document": ["a", "b", "a", "c"], "ranking": [4, 3, 2, 1]}
    found, counts = embedding_rows.read(file(tmp_path, row))
    assert dict(zip(texts(found[0]), found[0].target, strict=True)) == {"c": -1, "a": -2, "b": -3}
    assert counts == {"repeated documents": 1}


def test_a_pair_is_a_query_with_one_scored_document(tmp_path):
    found, _ = embedding_rows.read(file(tmp_path, PAIR))
    assert found == [Example(Content("one"), (Content("two"),), target=(3.0,), source="some")]


def test_kind_and_what_is_null(tmp_path):
    nothing = dict.fromkeys(("instruction", "source", "scores", "kind"))
    rows = [PLAIN | nothing, PLAIN | {"kind": "classification", "query": "r"}]
    found, _ = embedding_rows.read(file(tmp_path, *rows))
    assert [x.own_only for x in found] == [False, True]
    assert all(x.instruction is None and x.source == "some" for x in found)


def test_pictures_are_seen_from_the_files_folder_and_written_back(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("cat.png", "deep/walk.mp4", "deep/jump.mp4"):
        (tmp_path / name).write_bytes(b"")
    seen = {"text": "t", "image": "cat.png", "video": ["deep/walk.mp4", "./deep/jump.mp4"]}
    row = {"query": {"image": ["cat.png"]}, "positives": [seen]}
    found = embedding_rows.read_rows(file(tmp_path, row)).found[0]
    at = lambda name: os.path.join(tmp_path, name)
    assert found.query == Content(images=(at("cat.png"),))
    clips = (at("deep/walk.mp4"), at("deep/jump.mp4"))
    assert found.positives == (Content("t", (at("cat.png"),), clips),)
    elsewhere = embedding_rows.written(found, tmp_path / "deep")
    assert elsewhere["query"] == {"image": ["../cat.png"]}
    again = file(tmp_path / "deep", elsewhere)
    assert embedding_rows.read_rows(again).found == [found]


def test_a_row_survives_writing(tmp_path):
    row = PLAIN | {"scores": [1, 2, 3], "kind": "classification", "source": "s"}
    found = embedding_rows.read_rows(file(tmp_path, row)).found
    again = embedding_rows.read_rows(file(tmp_path, embedding_rows.written(found[0], tmp_path)))
    assert again.found == found


BROKEN = {
    '{"query": ': "not JSON",
    '{"query": "\\ud800", "positives": ["p"]}': "query: .*surrogates",
    '{"query": NaN, "positives": ["p"]}': "query: nan is no content",
    "[1]": "a JSON list",
}
WRONG = [
    ({"query": "q"}, "keys ['query']: give a row with query and positives"),
    (PLAIN | {"negative": ["x"]}, "keys ['negative', "),
    (PLAIN | RANKED, "keys ['document', "),
    (PLAIN | {"query": " "}, "query: it is empty"),
    (PLAIN | {"query": ["q"]}, "query: ['q'] is no content"),
    (PLAIN | {"query": {"text": "q", "audio": "a.mp3"}}, "is no content: give a text, or some of"),
    (PLAIN | {"query": {"text": 3}}, "query: text 3 is no string"),
    (PLAIN | {"query": {"image": "none.png"}}, "none.png' is no file"),
    (PLAIN | {"query": {"image": "."}}, "is no file"),
    (PLAIN | {"query": {"video": [1]}}, "query: video is [1]: give a path or a list of paths"),
    (PLAIN | {"positives": []}, "positives is []: give a list of at least one"),
    (PLAIN | {"positives": "p"}, "positives is 'p': give a list"),
    (PLAIN | {"positives": ["p", ""]}, "positives[1]: it is empty"),
    (PLAIN | {"negatives": ""}, "negatives is ''"),
    (PLAIN | {"negatives": ["n", None]}, "negatives[1]: None is no content"),
    (PLAIN | {"scores": [1, 2]}, "scores has 2 for 3 positives and negatives"),
    (PLAIN | {"scores": [1, True, 2]}, "scores is [1, True, 2]: give a list of finite numbers"),
    (PLAIN | {"scores": [1, float("inf"), 2]}, "give a list of finite numbers"),
    (PLAIN | {"scores": [1, 10**400, 2]}, "give a list of finite numbers"),
    (PLAIN | {"kind": "sts"}, "kind is 'sts': give one of retrieval, classification"),
    (PLAIN | {"kind": "classification", "negatives": ["p"]}, "no negative is left"),
    (PLAIN | {"source": 3}, "source is 3"),
    (PLAIN | {"instruction": ""}, "instruction is ''"),
    (RANKED | {"ranking": [1, 2]}, "ranking is [1, 2]: give each number from 1 to 3 once"),
    (RANKED | {"ranking": [0, 1, 2]}, "give each number from 1 to 3"),
    (RANKED | {"ranking": [1, 2, 2]}, "give each number from 1 to 3"),
    (RANKED | {"ranking": [1, 2, 3.0]}, "give each number from 1 to 3"),
    (RANKED | {"ranking": "[1] > [2]"}, "give each number from 1 to 3"),
    (RANKED | {"document": ["a", "a"], "ranking": [1, 2]}, "less than two different"),
    (PAIR | {"score": "high"}, "score is 'high'"),
    (PAIR | {"score": None}, "keys ['other', 'text']"),
    (PAIR | {"other": ""}, "other: it is empty"),
]


@pytest.mark.parametrize("row, words", WRONG, ids=range(len(WRONG)))
def test_a_row_that_is_wrong_says_how(tmp_path, row, words):
    message = told(tmp_path, PLAIN, "", row)
    assert "some.jsonl: 1 broken lines" in message
    assert "line 3: " in message and words in message


def test_all_broken_lines_are_listed(tmp_path):
    message = told(tmp_path, *BROKEN, PLAIN, RANKED | {"ranking": []})
    assert f"{len(BROKEN) + 1} broken lines" in message.splitlines()[0]
    for number, words in enumerate(BROKEN.values(), start=1):
        assert re.search(f"line {number}: .*{words}", message)


def test_a_source_has_one_form(tmp_path):
    """A batch is of one source: with a pair in it, a row would be scored by what it has not."""
    message = told(tmp_path, PLAIN, PAIR, PAIR | {"source": "sts"})
    assert "source 'some' has rows with positives and rows with score" in message
    assert "with positives and rows with positives and scores" in told(
        tmp_path, PLAIN, PLAIN | {"scores": [1, 2, 3]}
    )
    found, _ = embedding_rows.read(file(tmp_path, PLAIN, PAIR | {"source": "sts"}))
    assert [x.source for x in found] == ["some", "sts"]


def test_rows_of_another_form_are_none(tmp_path):
    with pytest.raises(ValueError, match=r"line 1: keys .*'ranking'"):
        embedding_rows.read_rows(file(tmp_path, RANKED))


def test_a_text_alone_is_written_as_one():
    assert content_json.written(Content("t"), ".") == "t"
