"""The index: BM25 as its formula says, built once, by content, the same in every process."""

import collections
import json
import math
import os
import pathlib
import re
import subprocess
import sys

import pytest
import tiny_corpus

from jaxrl.envs.research import build, corpus, mentions, words
from jaxrl.envs.research.sources import Document

K1, B = 1.2, 0.75


def bm25(query, title=2):
    """Ids by Σ_w ln((N − n + ½)/(n + ½)) f (k₁ + 1)/(f + k₁ (1 − b + b |d|/mean)).

    A word of the title counts `title` times in f.
    """
    split = lambda text: re.findall(r"\w+", text.casefold())
    listed = [tiny_corpus.document(i) for i in range(tiny_corpus.NUMBER)]
    both = [split(d["title"]) + split(d["text"]) for d in listed]
    weighed = [collections.Counter(title * split(d["title"]) + split(d["text"])) for d in listed]
    mean, scores = sum(map(len, both)) / len(both), collections.Counter()
    for word in split(query):
        n = sum(word in d for d in both)
        idf = math.log((len(both) - n + 0.5) / (n + 0.5))
        for i, f in enumerate(w[word] for w in weighed):
            norm = f + K1 * (1 - B + B * len(both[i]) / mean)
            scores[i + 1] += idf * f * (K1 + 1) / norm
    return [i for i in sorted(scores, key=lambda i: (-scores[i], i)) if scores[i] > 0]


@pytest.mark.parametrize("i", range(0, tiny_corpus.NUMBER, 9))
def test_a_search_ranks_as_bm25_says(world, i):
    query = f"{tiny_corpus.title(i)} {tiny_corpus.word(f'own/{i + 3}/2')}"
    found = [row.id for row in world.search(query, 10)]
    assert len(found) > 3 and found == bm25(query)[: len(found)]


def test_a_word_in_the_title_counts_twice(world):
    queries = [f"{tiny_corpus.title(i).split()[1]} {tiny_corpus.title(i + 2)}" for i in range(40)]
    telling = [q for q in queries if bm25(q)[:5] != bm25(q, title=1)[:5]]
    assert telling
    assert all([r.id for r in world.search(q, 5)] == bm25(q)[:5] for q in telling)


def test_words_that_every_text_has_are_not_looked_for(world):
    assert [r.id for r in world.search(f"the of {tiny_corpus.title(4)}", 1)] == [5]
    assert len(world.search("the of", 4)) == 4  # unless there is nothing else
    assert world.search("qqqq", 4) == [] == world.search("?!", 4)
    assert world.search('" OR x) AND QQ(" *', 3) == []  # no word of a query is syntax


def test_a_document_knows_its_relations_and_key_words(world):
    first, last = world.document(1), world.document(len(world))
    ids = {tiny_corpus.title(i): i + 1 for i in range(tiny_corpus.NUMBER)}
    named = [ids[t] for t in ids if t in first.text and t != first.title]
    assert set(named) < set(first.related) and len(first.related) == 8
    assert 1 in world.document(named[0]).related and last.id == tiny_corpus.NUMBER
    assert len(first.keys) == build.KEYS and first.keys <= set(words.terms(first.text))
    assert world.document(0) is None is world.document(10**9)


def test_the_index_is_built_once_for_one_content(names, tmp_path, monkeypatch):
    path = build.path(names)
    monkeypatch.setenv("JAXRL_CACHE", str(path.parent))
    monkeypatch.setattr(build, "write", None)  # would fail if it were called
    build.path.cache_clear()
    assert build.path(names) == path and path.is_file()
    assert [f for f in path.parent.iterdir() if f != path] == []  # nothing half-made is left
    changed = tmp_path / pathlib.Path(names).name
    changed.write_text(pathlib.Path(names).read_text().replace("Later", "After"))
    assert build.digest(str(changed)) != build.digest(names)
    changed.write_text(pathlib.Path(names).read_text())
    assert build.digest(str(changed)) == build.digest(names)  # wherever it lies
    monkeypatch.setattr(build, "COMMON", 3)
    assert build.digest(names) not in path.name


def test_other_processes_read_the_same(names, world):
    code = f"""
import sys
from jaxrl.envs.research import corpus, task, topics
world = corpus.open_corpus({names!r})
print(world.search("Later {tiny_corpus.title(7)}", 10))
print([topics.draw({names!r}, 3, "rl", task.KINDS[i % 3], i) for i in range(9)])
assert "jax" not in sys.modules
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | tiny_corpus.cache(names),
    )
    tasks = [tiny_corpus.task(names, "rl", i, 3) for i in range(9)]
    expected = [world.search(f"Later {tiny_corpus.title(7)}", 10), tasks]
    assert run.stdout == "".join(f"{x}\n" for x in expected) and run.stderr == ""


def test_a_file_without_documents_is_refused(tmp_path):
    (tmp_path / "none.jsonl").write_text('{"title": "x", "text": "short"}\n')
    with pytest.raises(ValueError, match="holds no document"):
        build.write(tmp_path / "x.db", str(tmp_path / "none.jsonl"))


def test_mentions_are_whole_titles_as_they_are_written():
    texts = {
        "Tim Burton": "He directed Ed Wood and Ed Wood (film) in New York, not in New, York Times.",
        "New York": "A city. Tim burton and Burton were not there, smith was.",
        "New York Times": "A paper of New York. The New York Times again.",
        "Ed Wood": "He read the New York Times; and Tim Burton.",
        "Smith!": "Someone.",
    }
    listed = [Document(title, text) for title, text in texts.items()]
    assert mentions.find(listed) == [(3, 1), (), (1,), (2, 0), ()]


def test_sentences_end_where_a_reader_sees_it():
    text = (
        "St. John met J. R. Smith on Jan 5 in town. He left at once, they say!\nx = 1\nShort one."
    )
    assert words.sentences(text) == [
        "St. John met J. R. Smith on Jan 5 in town.",
        "He left at once, they say!",
    ]
    assert words.terms("The Cats' glass of 2012s, a is") == ["cat", "glass", "2012"]


def test_each_process_has_a_connection_of_its_own(names, monkeypatch):
    """One that crosses a fork may read what the parent's cursor left."""
    assert corpus.open_corpus(names) is (mine := corpus.open_corpus(names))
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert corpus.open_corpus(names) is not mine


def linked(tmp_path, links):
    """The Corpus of documents "A a", "B b", … with these links, by letter."""
    row = lambda x: tiny_corpus.document(ord(x)) | {"title": f"{x} {x.lower()}"}
    lines = [row(x) | {"links": [f"{y} {y.lower()}" for y in some]} for x, some in links.items()]
    (tmp_path / "l.jsonl").write_text("\n".join(map(json.dumps, lines)))
    build.write(tmp_path / "l.db", str(tmp_path / "l.jsonl"))
    return corpus.Corpus(str(tmp_path / "l.db"))


def test_links_go_both_ways_and_make_topics(tmp_path):
    """A has three related documents, B and C two, D one, E none: it links to itself alone."""
    found = linked(tmp_path, {"A": "BC", "B": "CZ", "C": "", "D": "A", "E": "E"})
    assert [found.document(i).related for i in range(1, 6)] == [(2, 3, 4), (1, 3), (1, 2), (1,), ()]
    assert [title for _, title, _ in found.topics()] == ["A a"]


def test_what_too_many_name_is_related_to_none(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "COMMON", 2)
    found = linked(tmp_path, {"A": "", "B": "A", "C": "AB", "D": "AB", "E": "D"})
    assert [found.document(i).related for i in range(1, 6)] == [(), (3, 4), (2,), (2, 5), (4,)]


def test_a_short_document_is_found_and_never_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "SHORTEST", 10**6)
    found = linked(tmp_path, {"A": "BCD", "B": "", "C": "", "D": ""})
    assert found.document(1).related == () and list(found.topics()) == []
    assert found.search("A", 1)[0].id == 1


def test_a_sqlite_without_fts5_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "SCHEMA", build.SCHEMA.replace("fts5", "fts99"))
    with pytest.raises(RuntimeError, match=r"no such module: fts99\): use a Python whose"):
        linked(tmp_path, {"A": ""})
