"""Rows out of judged tasks: what is tested is in no row that is learned from."""

import json
import subprocess
import sys

import pytest

from jaxrl.data import embedding_rows
from jaxrl.evals.judged import Task
from jaxrl.retrieval import documents
from launch import rows

TEXTS = {f"d{n}": f"text {n}" for n in range(10)}
QRELS = {
    "a": {"d0": 1, "d1": 2},
    "b": {"d7": 1, "d9": 1},
    "c": {"d2": 1, "d8": 1},  # on both sides: in neither file
    "d": {"d3": 0},  # nothing is relevant
    "e": {"d4": 1, "gone": 1},
}


def task():
    queries = {q: f"query {q}" for q in QRELS}
    return Task("mine", documents.held(TEXTS, TEXTS.values()), queries, QRELS, {}, {})


def test_no_document_of_the_test_is_learned_from():
    train, test = rows.split(task(), 0.3, "find it")
    assert [row["query"] for row in train] == ["query a", "query e"]
    assert [row["query"] for row in test] == ["query b"]
    assert train[0]["positives"] == ["text 0", "text 1"] and test[0]["instruction"] == "find it"
    assert train[1]["positives"] == ["text 4"]
    with pytest.raises(ValueError, match=r"--test=0.0: 4 queries are left to learn from and 0"):
        rows.split(task(), 0.0)


def test_a_draw_of_rows_keeps_their_order_and_is_the_same_again():
    some = rows.drawn(list(range(50)), 5)
    assert len(some) == 5 and some == sorted(some) == rows.drawn(list(range(50)), 5)
    assert rows.drawn([3, 1], 2) == rows.drawn([3, 1], None) == [3, 1]


def test_a_beir_directory_becomes_two_files_that_training_reads(tmp_path):
    line = lambda **fields: json.dumps(fields) + "\n"
    corpus = "".join(line(_id=id, title="", text=text) for id, text in TEXTS.items())
    (tmp_path / "corpus.jsonl").write_text(corpus)
    asked = "".join(line(_id=q, text=f"query {q}") for q in "ab")
    (tmp_path / "queries.jsonl").write_text(asked)
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "train.tsv").write_text("a\td0\t1\nb\td9\t1\n")
    command = [sys.executable, "-m", "launch.rows", f"--task={tmp_path}", f"--out={tmp_path}/out"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "train.jsonl: 1 queries" in done.stdout
    (example,) = embedding_rows.read(tmp_path / "out" / "train.jsonl").found
    assert example.query.text == "query a" and example.documents[0].text == "text 0"
    refused = subprocess.run([*command[:-2], "--task=nowhere", command[-1]], capture_output=True)
    assert refused.returncode == 1 and b"launch.rows: nowhere" in refused.stderr
