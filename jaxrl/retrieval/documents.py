"""What an index is made of: ids and contents in a fixed order, from a list or from JSON lines.

    {"_id": "12", "title": "Rayleigh scattering", "text": "Light is scattered …"}
    {"_id": "13", "text": "the sky at noon", "image": "noon.png", "video": ["day.mp4"]}

The first is a line of BEIR's corpus.jsonl; "id" and "content" (BRIGHT) serve as well, a title is
optional. Beside or in place of a text there may be pictures and clips, as data/content_json.py has
them. A file is scanned once and then read by offset: of a document its id and eight bytes are kept.
A content is a text, or a Content where there is more: from `read` it goes to the encoder, and into
a checksum.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxrl import json_lines
from jaxrl.data import content_json

IDS = ("_id", "id")
TEXTS = ("text", "content")
SEEN = ("image", "video")


class Documents(NamedTuple):
    """Documents by number, from 0."""

    ids: list[str]
    read: Callable[[int, int], list]  # (start, stop) -> the contents of ids[start:stop]
    skipped: dict[str, int]  # reason -> lines left out


def held(ids, contents):
    """Documents in memory; ValueError if an id stands twice or there is none."""
    ids, contents = list(ids), list(contents)
    if len(ids) != len(contents):
        raise ValueError(f"{len(ids)} ids for {len(contents)} documents: give one for each")
    refuse_duplicates(ids)
    return Documents(ids, lambda start, stop: contents[start:stop], {})


def open_corpus(path, *, bad="refuse"):
    """The Documents of a .jsonl file, or of the corpus.jsonl of a BEIR directory.

    bad: "refuse" broken lines, empty contents, pictures that are no files and repeated ids by a
    ValueError that lists them; or "skip" and count them: of a repeated id the first line stays.
    """
    _check_bad(bad)
    path = Path(path)
    file = path / "corpus.jsonl" if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; give a .jsonl file or a BEIR directory")
    ids, offsets, broken = _scan(file)
    if broken and bad == "refuse":
        raise ValueError(listing(file, [f"line {n}: {why}" for n, _, why in broken]))
    if not ids:
        raise ValueError(f"{file} holds no document")
    skipped = {}
    for _, kind, _ in broken:
        skipped[kind] = skipped.get(kind, 0) + 1
    content = content_json.reader(file.parent)
    lines = lambda start, stop: _lines(file, offsets[start:stop])
    read = lambda start, stop: [_document(line, content)[1] for line in lines(start, stop)]
    return Documents(ids, read, skipped)


def _check_bad(bad):
    """ValueError if this is no way to treat broken lines."""
    if bad not in ("refuse", "skip"):
        raise ValueError(f'bad = {bad!r} is unknown: give "refuse" or "skip"')


def joined(title, text):
    """A document as one text: the title, a space, the text, as BEIR joins them."""
    return f"{title} {text}".strip()


def shown(content):
    """A content as one line of text: its text, and the names of its files."""
    if isinstance(content, str):
        return " ".join(content.split())
    files = [f"[{os.path.basename(path)}]" for path in (*content.images, *content.videos)]
    return " ".join([*files, *content.text.split()])


def described(content):
    """A Content as JSON, for a checksum: of its files the names and sizes.

    Not the folder, so that a corpus may move; not what is in them, which would take as long to read
    as to encode.
    """
    size = lambda path: os.path.getsize(path) if os.path.isfile(path) else None
    files = lambda paths: [[os.path.basename(path), size(path)] for path in paths]
    return [content.text, files(content.images), files(content.videos)]


def parse(line, keys):
    """The JSON object of a line of bytes, with a key of each group, or a ValueError that says why.

    keys: groups of names, of which the first that occurs is taken.  returns: (record, values).
    """
    record = json_lines.record(line)
    return record, _values(record, keys)


def _values(record, keys):
    values = []
    for names in keys:
        name = next((n for n in names if n in record), None)
        if name is None:
            raise ValueError(f"no key {' or '.join(map(repr, names))}; has {sorted(record)[:5]}")
        values.append(record[name])
    return values


def refuse_duplicates(ids):
    """ValueError that names an id which stands twice, or is no text, or that there is none."""
    if not ids:
        raise ValueError("there is no document: give at least one")
    wrong = next((id for id in ids if not isinstance(id, str) or not id), None)
    if wrong is not None:
        raise ValueError(f"id {wrong!r} must be a text that is not empty")
    if len(set(ids)) < len(ids):
        seen = set()
        twice = next(id for id in ids if id in seen or seen.add(id))
        raise ValueError(f"id {twice!r} stands twice: every document needs an id of its own")


def listing(file, broken):
    """The message of an error that lists what is wrong with a file that may be read in part."""
    return json_lines.listing(file, broken, 'mend them or pass "skip"')


def _scan(file):
    """(ids, offsets, [(line number, kind, why)])."""
    ids, offsets, broken, seen, offset = [], [], [], set(), 0
    reader = content_json.reader(file.parent)
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            start, offset = offset, offset + len(line)
            if not line.strip():
                continue
            try:
                id, content = _document(line, reader)
            except ValueError as e:
                broken.append((number, "malformed", str(e)))
                continue
            if not content:
                broken.append((number, "empty", f"{id!r} has neither title nor text"))
            elif id in seen:
                broken.append((number, "duplicate", f"id {id!r} stands twice"))
            else:
                seen.add(id)
                ids.append(id)
                offsets.append(start)
    return ids, np.array(offsets, np.int64), broken


def _document(line, reader):
    record = json_lines.record(line)
    seen = {key: record[key] for key in SEEN if record.get(key) is not None}
    bare = seen and not any(name in record for name in TEXTS)
    id, text = [*_values(record, (IDS,)), ""] if bare else _values(record, (IDS, TEXTS))
    id = str(id) if isinstance(id, int) and not isinstance(id, bool) else id
    title = record["title"] if record.get("title") is not None else ""
    for name, value in (("id", id), ("text", text), ("title", title)):
        if not isinstance(value, str):
            raise ValueError(f"the {name} {value!r} is no text")
        value.encode()  # fails on half a character, which no tokenizer takes
    if not id:
        raise ValueError("the id is empty")
    whole = joined(title, text)
    return id, reader({"text": whole} | seen) if seen else whole


def _lines(file, offsets):
    with file.open("rb") as lines:
        for offset in offsets:
            lines.seek(offset)
            yield lines.readline()
