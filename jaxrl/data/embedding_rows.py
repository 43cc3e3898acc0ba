"""Rows that embedders and rerankers learn from, in files of one JSON object a line.

    {"query": CONTENT, "positives": [CONTENT, …], "negatives": [CONTENT, …],
     "scores": [of each positive, then of each negative], "kind": "retrieval"}
    {"query": CONTENT, "document": [CONTENT, …], "ranking": [3, 1, 2]}
    {"text": CONTENT, "other": CONTENT, "score": 0.8}

The second form is E2Rank's (arXiv:2510.22733); its ranking has the numbers of the documents from 1,
best first. The third is a pair of known similarity. CONTENT is a text or more: content_json.py.
Negatives, scores and kind may be left out; of kind "classification" a row has its own negatives
alone. Each form may have an "instruction" of the query and a "source", or it is the file's name.
"""

import collections
import dataclasses
import functools
import itertools
import os
from pathlib import Path
from typing import NamedTuple

from jaxrl.data import content_json, embedding_forms, sources
from jaxrl.data.contents import Example
from jaxrl.data.embedding_forms import Row


class Rows(NamedTuple):
    """What a file holds, and what was left out of it."""

    found: list  # of Example, or of Row
    counts: dict[str, int]  # reason -> documents left out


def read(path):
    """The Rows of a file as Examples, one for each positive of a line.

    A document that stands twice in a line is left out once, and so is a negative that is a positive
    there or, for the same query and source, in another line: counted. The other positives of a line
    are not among an Example's documents. The target of a ranked document is −rank; the best comes
    first, the others in the file's order. ValueError that lists every broken line, or names a
    source whose rows have several forms.
    """
    counts = collections.Counter()
    parsed = _parsed(path, functools.partial(embedding_forms.any_form, counts=counts))
    _refuse_mixtures(path, parsed)
    answers = _answers(found for _, found in parsed if isinstance(found, Row))
    clear = lambda row: _without(row, answers[row.source, row.query], counts)
    each = (examples(clear(x)) if isinstance(x, Row) else [x] for _, x in parsed)
    return Rows(list(itertools.chain.from_iterable(each)), dict(counts))


def read_rows(path):
    """The Rows of a file whose lines all have the first form, as they stand there."""
    counts = collections.Counter()
    parse = functools.partial(embedding_forms.first_form, counts=counts)
    return Rows(_parsed(path, parse), dict(counts))


def examples(row):
    """The Examples of a Row: its positives one by one, each with all negatives."""
    first = len(row.positives)
    for place, positive in enumerate(row.positives):
        target = (row.scores[place], *row.scores[first:]) if row.scores else ()
        documents = (positive, *row.negatives)
        yield Example(row.query, documents, row.instruction, target, row.own_only, row.source)


def written(row, folder):
    """A Row as the JSON object of a line in a file of this folder."""
    content = functools.partial(content_json.written, folder=folder)
    found = {"source": row.source, "instruction": row.instruction, "query": content(row.query)}
    found["positives"] = [content(x) for x in row.positives]
    found["negatives"] = [content(x) for x in row.negatives]
    found |= {"scores": list(row.scores), "kind": embedding_forms.KINDS[row.own_only]}
    return {key: value for key, value in found.items() if value}


def _parsed(path, parse):
    """parse(object, content, source) of each line; null is what is left out."""
    content, name = content_json.reader(os.path.dirname(path)), Path(path).stem

    def line(row):
        row = {key: value for key, value in row.items() if value is not None}
        return parse(row, content, row["source"] if "source" in row else name)

    return sources.read(path, line, embedding_forms.FORMS)


def _answers(rows):
    """{(source, query): its positives in all rows}."""
    answers = {}
    for row in rows:
        answers.setdefault((row.source, row.query), set()).update(row.positives)
    return answers


def _without(row, answers, counts):
    """The row without negatives that are positives of its query elsewhere."""
    kept = [i for i, negative in enumerate(row.negatives) if negative not in answers]
    if len(kept) == len(row.negatives):
        return row
    counts["negatives that are positives"] += len(row.negatives) - len(kept)
    first, negatives = len(row.positives), tuple(row.negatives[i] for i in kept)
    scores = (*row.scores[:first], *(row.scores[first + i] for i in kept)) if row.scores else ()
    return dataclasses.replace(row, negatives=negatives, scores=scores)


def _refuse_mixtures(path, parsed):
    forms = {}
    for form, found in parsed:
        forms.setdefault(found.source, {})[form] = True
    mixed = {source: list(names) for source, names in forms.items() if len(names) > 1}
    if mixed:
        source, names = next(iter(mixed.items()))
        raise ValueError(
            f"{path}: source {source!r} has rows with {' and rows with '.join(names)}, but a batch "
            f"has one form: name their sources apart ({len(mixed)} of {len(forms)} sources)"
        )
