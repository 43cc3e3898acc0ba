"""Builds the file that corpus.py reads: documents, how they are related, their key words, BM25."""

import collections
import contextlib
import functools
import hashlib
import json
import math
import os
import pathlib
import sqlite3
import tempfile

from rich.console import Console
from rich.progress import Progress

from jaxrl.envs.research import mentions, sources, words

FORMAT = 1  # raised where the same sources would be stored otherwise
KEYS = 8  # words of a document's lead that a report on it should bring
LEAD = 3  # sentences
FEWEST, MOST = 3, 40  # related documents of a topic: with more, it has no subject of its own
COMMON = 60  # what more documents name than this tells nothing of them: "March", "Glossary"
SHORTEST = 250  # characters of a document that a task names
SCHEMA = """
CREATE TABLE pages (id INTEGER PRIMARY KEY, source TEXT, title TEXT, text TEXT, related TEXT,
                    keys TEXT, fit INTEGER);
CREATE VIRTUAL TABLE found USING fts5(title, text, content='pages', content_rowid='id',
                                      tokenize='porter unicode61');
"""


@functools.lru_cache(maxsize=8)
def path(names):
    """The file of the sources in "hotpotqa+python", built if it is not there."""
    cache = pathlib.Path(os.environ.get("JAXRL_CACHE", "~/.cache/jaxrl")).expanduser()
    out = cache / f"research-{digest(names)[:16]}.db"
    if not out.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".research-", dir=cache) as folder:
            half = pathlib.Path(folder) / "half.db"
            write(half, names)
            os.replace(half, out)  # another process that builds the same only repeats it
    return out


def digest(names):
    """A hash of the content of all files of the sources, and of how it is stored."""
    settings = (FORMAT, KEYS, LEAD, FEWEST, MOST, SHORTEST, COMMON)
    whole = hashlib.sha256(repr(settings).encode())
    for name in sources.names(names):
        for file in sources.files(name):
            whole.update(f"{_short(name)}/{file.name}\n".encode())  # wherever it lies
            with file.open("rb") as f:
                whole.update(hashlib.file_digest(f, "sha256").digest())
    return whole.hexdigest()


def write(out, names):
    """Writes the file, with a progress bar."""
    steps = ("reading", "linking", "describing", "indexing")
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"{names}: {steps[0]}", total=len(steps))
        tell = lambda n: bar.update(task, completed=n, description=f"{names}: {steps[n]}")
        listed = _read(names)
        tell(1)
        related = _related([document for _, document in listed])
        tell(2)
        rows = list(_rows(listed, related))
        tell(3)
        with contextlib.closing(sqlite3.connect(out)) as db, db:
            _create(db)
            db.executemany("INSERT INTO pages VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            db.execute("INSERT INTO found(found) VALUES ('rebuild')")
            db.execute("INSERT INTO found(found) VALUES ('optimize')")


def _create(db):
    try:
        db.executescript(SCHEMA)
    except sqlite3.OperationalError as e:
        raise RuntimeError(
            f"SQLite {sqlite3.sqlite_version} of this Python cannot hold the index ({e}): use a "
            "Python whose sqlite3 has FTS5, such as a distribution's or python.org's"
        ) from None


def _short(name):
    """A source's name; of a file without its folder."""
    return pathlib.PurePath(name).name


def _read(names):
    """[(source, Document)] of all sources, each title once."""
    listed = [(_short(name), d) for name in sources.names(names) for d in sources.read(name)]
    kept = {}
    for name, document in listed:
        kept.setdefault(document.title, (name, document))
    if not kept:
        raise ValueError(
            f"corpus = {names!r} holds no document: give some of 40 characters or more"
        )
    return list(kept.values())


def _related(documents):
    """For each document the indices of those that it names or that name it, in order."""
    places = {d.title: i for i, d in enumerate(documents)}
    bare = [i for i, d in enumerate(documents) if d.links is None]
    named = mentions.find([documents[i] for i in bare])
    out = {i: [bare[j] for j in some] for i, some in zip(bare, named, strict=True)}
    for i, d in enumerate(documents):
        if d.links is not None:
            out[i] = [places[title] for title in d.links if title in places]
    times = collections.Counter(j for some in out.values() for j in some)
    both = collections.defaultdict(set)
    for i, some in out.items():
        for j in some:
            if i != j and times[j] <= COMMON:
                both[i].add(j)
                both[j].add(i)
    return [sorted(both[i]) for i in range(len(documents))]


def _rows(listed, related):
    """The rows of `pages`; ids begin at 1."""
    times = collections.Counter()
    for _, d in listed:
        times.update(set(words.terms(f"{d.title} {d.text}")))
    keys = [_keys(d, times, len(listed)) for _, d in listed]
    whole = [
        len(k) == KEYS and len(d.text) >= SHORTEST for k, (_, d) in zip(keys, listed, strict=True)
    ]
    for i, (name, d) in enumerate(listed):
        beside = [j + 1 for j in related[i] if whole[j]]
        fit = whole[i] and FEWEST <= len(beside) <= MOST
        yield i + 1, name, d.title, d.text, json.dumps(beside), json.dumps(keys[i]), fit


def _keys(document, times, total):
    """The KEYS words of the lead with the highest tf · ln(N / n)."""
    lead = " ".join(words.sentences(document.text)[:LEAD])
    counts = collections.Counter(words.terms(lead))
    weight = lambda w: counts[w] * math.log(total / times[w])
    return sorted(counts, key=lambda w: (-weight(w), w))[:KEYS]
