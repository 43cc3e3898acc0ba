"""BEIR's and BRIGHT's files: read as they are; broken lines refused by name or counted."""

import json

import pytest

from jaxrl.evals import judged
from jaxrl.retrieval import documents


def lines(at, rows):
    at.parent.mkdir(parents=True, exist_ok=True)
    text = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    at.write_text("\n".join(text) + "\n", encoding="utf-8")


CORPUS = [
    {"_id": "d1", "title": "Sky", "text": "is blue", "metadata": {}},
    {"_id": "d2", "title": "", "text": "grass é"},
    {"_id": "d3", "text": "untitled"},
]
QUERIES = [{"_id": "q1", "text": "why blue"}, {"_id": "q2", "text": "green"}]
QRELS = ["query-id\tcorpus-id\tscore", "q1\td1\t2", "q1\td2\t0", "q2\td2\t1"]


def beir(folder, corpus=CORPUS, queries=QUERIES, qrels=QRELS):
    lines(folder / "corpus.jsonl", corpus)
    lines(folder / "queries.jsonl", queries)
    lines(folder / "qrels" / "test.tsv", qrels)
    return folder


def test_a_beir_directory(tmp_path):
    task = judged.read_beir(beir(tmp_path / "tiny"))
    assert task.name == "tiny" and task.documents.ids == ["d1", "d2", "d3"]
    assert task.documents.read(0, 3) == ["Sky is blue", "grass é", "untitled"]
    assert task.documents.read(1, 2) == ["grass é"]
    assert task.queries == {"q1": "why blue", "q2": "green"}
    assert task.qrels == {"q1": {"d1": 2, "d2": 0}, "q2": {"d2": 1}}
    assert task.skipped == {} and task.excluded == {}


def test_queries_without_a_judgement_are_left_out_and_counted(tmp_path):
    more = [*QUERIES, {"_id": "q3", "text": "unjudged"}]
    task = judged.read_beir(beir(tmp_path, queries=more))
    assert list(task.queries) == ["q1", "q2"] and task.skipped == {"without_judgement": 1}


def test_a_document_with_a_querys_own_id_does_not_count_for_it(tmp_path):
    corpus = [*CORPUS, {"_id": "q2", "text": "green"}]
    assert judged.read_beir(beir(tmp_path, corpus)).excluded == {"q2": {"q2"}}


BROKEN = {
    "corpus": [*CORPUS, "{", {"_id": "d1", "text": "again"}, {"_id": "d9", "text": " "}, "[1]"],
    "queries": [*QUERIES, {"_id": "q1", "text": "twice"}, {"_id": "q4", "text": ""}, {"text": "x"}],
    "qrels": [*QRELS, "q1\td1", "q1\tdx\t1", "qx\td1\t1", "q2\td3\tgood"],
}


def test_broken_lines_are_all_named(tmp_path):
    beir(tmp_path, corpus=BROKEN["corpus"])
    with pytest.raises(ValueError) as caught:
        judged.read_beir(tmp_path)
    told = str(caught.value)
    assert (
        "4 broken lines" in told and "line 4: not JSON" in told and "id 'd1' stands twice" in told
    )
    assert "'d9' has neither title nor text" in told and "line 7: a JSON list" in told
    beir(tmp_path, queries=BROKEN["queries"], qrels=BROKEN["qrels"])
    with pytest.raises(ValueError) as caught:
        judged.read_beir(tmp_path)
    told = str(caught.value)
    for part in (
        "line 3: the query 'q1' stands twice",
        "line 4: the query 'q4' has no text",
        "queries.jsonl, line 5: no key '_id' or 'id'",
        "test.tsv, line 5",
        "'q1' name 'dx', not in the corpus",
        "the query 'qx', which has no text",
        "line 8: 'q2\\td3\\tgood'",
    ):
        assert part in told


def test_broken_lines_are_skipped_and_counted_if_asked(tmp_path):
    """The judgement of the document that is not there stays: it is one that nobody finds."""
    task = judged.read_beir(beir(tmp_path, **BROKEN), bad="skip")
    assert task.documents.ids == ["d1", "d2", "d3"] and list(task.queries) == ["q1", "q2"]
    assert task.qrels["q1"] == {"d1": 2, "d2": 0, "dx": 1}
    assert task.skipped == {
        "malformed": 5,
        "duplicate": 1,
        "empty": 1,
        "duplicate_query": 1,
        "empty_query": 1,
        "unknown_document": 1,
        "unknown_query": 1,
    }


def test_bright_leaves_documents_out_by_query(tmp_path):
    rows = [{"id": "a", "content": "alpha"}, {"id": "b", "content": "beta"}]
    lines(tmp_path / "documents.jsonl", rows)
    rest = {"reasoning": "", "gold_answer": ""}
    ids = {"gold_ids": ["a"], "gold_ids_long": ["b"]}
    examples = [
        {"query": "first", "id": "0", "excluded_ids": ["N/A"], **ids, **rest},
        {"query": "second", "id": "1", "excluded_ids": ["b"], **ids, **rest},
    ]
    lines(tmp_path / "examples.jsonl", examples)
    task = judged.read_bright(tmp_path)
    assert task.qrels == {"0": {"a": 1}, "1": {"a": 1}}
    assert task.excluded == {"0": frozenset(), "1": {"b"}}
    assert judged.read_bright(tmp_path, long=True).qrels["0"] == {"b": 1}
    lines(tmp_path / "examples.jsonl", [*examples, {**examples[0], "id": "2", "gold_ids": "a"}])
    with pytest.raises(ValueError, match="line 3: ids must be lists"):
        judged.read_bright(tmp_path)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"corpus\.jsonl"):
        judged.read_beir(tmp_path)
    beir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"dev\.tsv"):
        judged.read_beir(tmp_path, "dev")
    beir(tmp_path, qrels=QRELS[:1])
    with pytest.raises(ValueError, match="no query has both"):
        judged.read_beir(tmp_path)
    lines(tmp_path / "corpus.jsonl", [])
    with pytest.raises(ValueError, match="holds no document"):
        judged.read_beir(tmp_path)
    with pytest.raises(ValueError, match="'drop'"):
        documents.open_corpus(tmp_path, bad="drop")
