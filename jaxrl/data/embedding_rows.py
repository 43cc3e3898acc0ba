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
import os
from pathlib import Path
from typing import NamedTuple

from jaxrl.data import content_json, sources
from jaxrl.data.contents import Content, Example

KINDS = ("retrieval", "classification")
FORMS = "with query and positives; query, document and ranking; or text, other and score"
ANYWHERE = {"source", "instruction"}
LARGEST = 1e30  # of scores: in float32 their differences stay finite


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the first form: a query, what answers it, and what does not."""

    query: Content
    positives: tuple[Content, ...]
    negatives: tuple[Content, ...] = ()
    scores: tuple[float, ...] = ()  # of the positives, then of the negatives; () = none are known
    instruction: str | None = None
    source: str = ""
    own_only: bool = False  # a classification row


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
    parsed = _parsed(path, functools.partial(_any_form, counts=counts))
    _refuse_mixtures(path, parsed)
    answers = _answers(found for _, found in parsed if isinstance(found, Row))
    examples_ = []
    for _, found in parsed:
        if isinstance(found, Row):
            examples_ += examples(_without(found, answers[found.source, found.query], counts))
        else:
            examples_.append(found)
    return Rows(examples_, dict(counts))


def read_rows(path):
    """The Rows of a file whose lines all have the first form, as they stand there."""
    counts = collections.Counter()
    return Rows(_parsed(path, functools.partial(_row, counts=counts)), dict(counts))


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
    found |= {"scores": list(row.scores), "kind": KINDS[row.own_only]}
    return {key: value for key, value in found.items() if value}


def _parsed(path, parse):
    """parse(object, content, source) of each line; null is what is left out."""
    content, name = content_json.reader(os.path.dirname(path)), Path(path).stem

    def line(row):
        row = {key: value for key, value in row.items() if value is not None}
        return parse(row, content, row["source"] if "source" in row else name)

    return sources.read(path, line, FORMS)


def _any_form(row, content, source, *, counts):
    """(the name of its form, a Row or an Example)."""
    if "positives" in row:
        found = _row(row, content, source, counts=counts)
        return "positives and scores" if found.scores else "positives", found
    if "document" in row:
        return "ranking", _ranked(row, content, source, counts)
    return "score", _pair(row, content, source)


def _row(row, content, source, *, counts):
    _check_keys(row, {"query", "positives"}, {"negatives", "scores", "kind"})
    if "kind" in row and row["kind"] not in KINDS:
        raise ValueError(f"kind is {row['kind']!r:.60}: give one of {', '.join(KINDS)}")
    query = _content(row, "query", content)
    positives = _contents(row, "positives", content)
    some = "negatives" in row and row["negatives"] != []
    negatives = _contents(row, "negatives", content) if some else []
    scores = _scores(row, len(positives) + len(negatives))
    kept_p, twice = _first_ones(positives)
    kept_n, again = _first_ones(negatives)
    taken = set(positives)
    kept = [i for i in kept_n if negatives[i] not in taken]
    own_only = "kind" in row and row["kind"] == "classification"
    if own_only and not kept:
        raise ValueError("kind is classification, and no negative is left: nothing to learn")
    counts.update({"repeated positives": twice, "repeated negatives": again})
    counts.update({"negatives that are positives": len(kept_n) - len(kept)})
    take = [*kept_p, *(len(positives) + i for i in kept)]
    return Row(
        query,
        tuple(positives[i] for i in kept_p),
        tuple(negatives[i] for i in kept),
        tuple(scores[i] for i in take) if scores else (),
        _instruction(row),
        source,
        own_only,
    )


def _ranked(row, content, source, counts):
    _check_keys(row, {"query", "document", "ranking"})
    query, documents = _content(row, "query", content), _contents(row, "document", content)
    ranking, numbers = row["ranking"], list(range(1, len(documents) + 1))
    whole = isinstance(ranking, list) and all(type(n) is int for n in ranking)
    if not whole or sorted(ranking) != numbers:
        raise ValueError(
            f"ranking is {ranking!r:.60}: give each number from 1 to {len(documents)} once, the "
            "best document's first"
        )
    best_first = [documents[n - 1] for n in ranking]
    kept, twice = _first_ones(best_first)  # of equal ones the best rank counts
    if len(kept) < 2:
        raise ValueError("document holds less than two different ones: nothing to rank")
    counts.update({"repeated documents": twice})
    rank = {best_first[i]: float(i + 1) for i in kept}
    shown = list(dict.fromkeys([best_first[0], *documents]))
    target = tuple(-rank[x] for x in shown)
    return Example(query, tuple(shown), _instruction(row), target, source=source)


def _pair(row, content, source):
    _check_keys(row, {"text", "other", "score"})
    text, other = (_content(row, key, content) for key in ("text", "other"))
    if not _finite(row["score"]):
        raise ValueError(f"score is {row['score']!r:.60}: give a finite number")
    return Example(text, (other,), _instruction(row), (float(row["score"]),), source=source)


def _check_keys(row, needed, more=frozenset()):
    if not needed <= set(row) or set(row) - needed - set(more) - ANYWHERE:
        raise ValueError(f"keys {sorted(row)}: give a row {FORMS}")
    for key in ANYWHERE & set(row):
        if not isinstance(row[key], str) or not row[key].strip():
            raise ValueError(f"{key} is {row[key]!r:.60}: give a text, or leave it out")


def _instruction(row):
    return row["instruction"] if "instruction" in row else None


def _content(row, key, content):
    try:
        return content(row[key])
    except ValueError as fault:
        raise ValueError(f"{key}: {fault}") from None


def _contents(row, key, content):
    if not isinstance(row[key], list) or not row[key]:
        raise ValueError(f"{key} is {row[key]!r:.60}: give a list of at least one content")
    named = {f"{key}[{i}]": value for i, value in enumerate(row[key])}
    return [_content(named, name, content) for name in named]


def _scores(row, count):
    scores = row["scores"] if "scores" in row else []
    if not isinstance(scores, list) or not all(map(_finite, scores)):
        raise ValueError(f"scores is {scores!r:.60}: give a list of finite numbers")
    if scores and len(scores) != count:
        raise ValueError(f"scores has {len(scores)} for {count} positives and negatives")
    return [float(score) for score in scores]


def _finite(value):
    return type(value) in (int, float) and -LARGEST < value < LARGEST  # false of NaN, too


def _first_ones(contents):
    """(the places where a content stands for the first time, how many there are beside)."""
    first = {}
    for place, content in enumerate(contents):
        first.setdefault(content, place)
    return list(first.values()), len(contents) - len(first)


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
