"""What an index is made of: ids and contents in a fixed order, from a list or from JSON lines.

    {"_id": "12", "title": "Rayleigh scattering", "text": "Light is scattered …"}

is a line of BEIR's corpus.jsonl; "id" and "content" (BRIGHT) serve as well, a title is optional.
A file is scanned once and then read by offset: of a document its id and eight bytes are kept.
Here a content is a text. Whatever JSON can hold may stand in its place, such as the path of an
image that a multimodal encoder opens: contents go from `read` to the encoder, and into a checksum.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxrl import json_lines

IDS = ("_id", "id")
TEXTS = ("text", "content")


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

    bad: "refuse" broken lines, empty texts and repeated ids by a ValueError that lists them; or
    "skip" and count them: of a repeated id the first line stays.
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
    read = lambda start, stop: [_content(line) for line in _lines(file, offsets[start:stop])]
    return Documents(ids, read, skipped)


def _check_bad(bad):
    """ValueError if this is no way to treat broken lines."""
    if bad not in ("refuse", "skip"):
        raise ValueError(f'bad = {bad!r} is unknown: give "refuse" or "skip"')


def joined(title, text):
    """A document as one text: the title, a space, the text, as BEIR joins them."""
    return f"{title} {text}".strip()


def parse(line, keys):
    """The JSON object of a line of bytes, with a key of each group, or a ValueError that says why.

    keys: groups of names, of which the first that occurs is taken.  returns: (record, values).
    """
    record = json_lines.record(line)
    values = []
    for names in keys:
        name = next((n for n in names if n in record), None)
        if name is None:
            raise ValueError(f"no key {' or '.join(map(repr, names))}; has {sorted(record)[:5]}")
        values.append(record[name])
    return record, values


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
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            start, offset = offset, offset + len(line)
            if not line.strip():
                continue
            try:
                id, content = _document(line)
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


def _document(line):
    record, (id, text) = parse(line, (IDS, TEXTS))
    id = str(id) if isinstance(id, int) and not isinstance(id, bool) else id
    title = record["title"] if record.get("title") is not None else ""
    for name, value in (("id", id), ("text", text), ("title", title)):
        if not isinstance(value, str):
            raise ValueError(f"the {name} {value!r} is no text")
        value.encode()  # fails on half a character, which no tokenizer takes
    if not id:
        raise ValueError("the id is empty")
    return id, joined(title, text)


def _content(line):
    return _document(line)[1]


def _lines(file, offsets):
    with file.open("rb") as lines:
        for offset in offsets:
            lines.seek(offset)
            yield lines.readline()
