"""The documents and their index: one SQLite file, built once and shared by all processes.

    corpus = open_corpus("hotpotqa")
    corpus.search("horror film of 2012", 5)      # [Found(id, title, snippet), …]

BM25 is SQLite's own (FTS5, Porter's stemmer): part of Python, on disk, mapped into memory, and the
order of equal scores is fixed. bm25s was left out: its import runs an operation of JAX, which would
open the accelerator in every worker. The file lies in ~/.cache/jaxrl/ (JAXRL_CACHE overrides),
named by a hash of the sources' content.
"""

import functools
import json
import os
import re
import sqlite3
import urllib.parse
from typing import NamedTuple

from jaxrl.envs.research import build
from jaxrl.envs.research.words import STOP

TITLE_WEIGHT = 2.0  # of a word in the title against one in the text
MOST_WORDS = 32  # of a query; further ones are not looked for
SNIPPET = 32  # words


class Found(NamedTuple):
    """A row of a search."""

    id: int
    title: str
    snippet: str


class Document(NamedTuple):
    """A document as it is stored."""

    id: int
    source: str
    title: str
    text: str
    related: tuple[int, ...]  # documents that name it or that it names
    keys: frozenset[str]  # the words that tell its first sentences from other documents


def open_corpus(names):
    """The Corpus of the sources in "hotpotqa+python"; built first where it is not yet."""
    return _opened(str(build.path(names)), os.getpid())  # a connection must not cross a fork


@functools.lru_cache(maxsize=8)
def _opened(path, _):
    return Corpus(path)


class Corpus:
    """An open file of documents."""

    def __init__(self, path):
        where = f"file:{urllib.parse.quote(path)}?mode=ro&immutable=1"
        self._db = sqlite3.connect(where, uri=True, check_same_thread=False)
        self._db.execute("PRAGMA mmap_size = 1073741824")
        self.document = functools.lru_cache(maxsize=4096)(self._document)

    def search(self, query, count):
        """The `count` best documents by BM25 of any of the query's words, as a list of Found."""
        words = dict.fromkeys(re.findall(r"\w+", query.casefold()))
        words = [w for w in words if w not in STOP] or list(words)
        wanted = " OR ".join(f'"{w}"' for w in words[:MOST_WORDS])
        if not wanted:
            return []
        rows = self._db.execute(
            "SELECT rowid, title, snippet(found, 1, '', '', '…', ?) FROM found WHERE found MATCH ? "
            "ORDER BY bm25(found, ?, 1.0), rowid LIMIT ?",
            (SNIPPET, wanted, TITLE_WEIGHT, count),
        )
        return [Found(*row) for row in rows]

    def topics(self):
        """(id, title, source) of the documents that a task can be about, by id."""
        return self._db.execute("SELECT id, title, source FROM pages WHERE fit ORDER BY id")

    def __len__(self):
        return self._db.execute("SELECT count(*) FROM pages").fetchone()[0]

    def _document(self, id):
        """The Document of an id, or None."""
        row = self._db.execute(
            "SELECT id, source, title, text, related, keys FROM pages WHERE id = ?", (id,)
        ).fetchone()
        if row is None:
            return None
        return Document(*row[:4], tuple(json.loads(row[4])), frozenset(json.loads(row[5])))
