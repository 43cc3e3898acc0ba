"""The forms of a line in a file of embedders' rows, which embedding_rows.py shows: parsed, checked.

What is wrong with a line is a ValueError that says so; what stands in it twice is counted.
"""

import dataclasses

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


def any_form(line, content, source, *, counts):
    """(the name of its form, a Row or an Example)."""
    if "positives" in line:
        found = first_form(line, content, source, counts=counts)
        return "positives and scores" if found.scores else "positives", found
    if "document" in line:
        return "ranking", _ranked(line, content, source, counts)
    return "score", _pair(line, content, source)


def first_form(line, content, source, *, counts):
    """A Row. content: of content_json.reader; counts: a Counter of what is left out."""
    _check_keys(line, {"query", "positives"}, {"negatives", "scores", "kind"})
    if "kind" in line and line["kind"] not in KINDS:
        raise ValueError(f"kind is {line['kind']!r:.60}: give one of {', '.join(KINDS)}")
    query = _content(line, "query", content)
    positives = _contents(line, "positives", content)
    some = "negatives" in line and line["negatives"] != []
    negatives = _contents(line, "negatives", content) if some else []
    scores = _scores(line, len(positives) + len(negatives))
    kept_p, twice = _first_ones(positives)
    kept_n, again = _first_ones(negatives)
    taken = set(positives)
    kept = [i for i in kept_n if negatives[i] not in taken]
    own_only = "kind" in line and line["kind"] == "classification"
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
        _instruction(line),
        source,
        own_only,
    )


def _ranked(line, content, source, counts):
    _check_keys(line, {"query", "document", "ranking"})
    query, documents = _content(line, "query", content), _contents(line, "document", content)
    ranking, numbers = line["ranking"], list(range(1, len(documents) + 1))
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
    return Example(query, tuple(shown), _instruction(line), target, source=source)


def _pair(line, content, source):
    _check_keys(line, {"text", "other", "score"})
    text, other = (_content(line, key, content) for key in ("text", "other"))
    if not _finite(line["score"]):
        raise ValueError(f"score is {line['score']!r:.60}: give a finite number")
    return Example(text, (other,), _instruction(line), (float(line["score"]),), source=source)


def _check_keys(line, needed, more=frozenset()):
    if not needed <= set(line) or set(line) - needed - set(more) - ANYWHERE:
        raise ValueError(f"keys {sorted(line)}: give a row {FORMS}")
    for key in ANYWHERE & set(line):
        if not isinstance(line[key], str) or not line[key].strip():
            raise ValueError(f"{key} is {line[key]!r:.60}: give a text, or leave it out")


def _instruction(line):
    return line["instruction"] if "instruction" in line else None


def _content(line, key, content):
    try:
        return content(line[key])
    except ValueError as fault:
        raise ValueError(f"{key}: {fault}") from None


def _contents(line, key, content):
    if not isinstance(line[key], list) or not line[key]:
        raise ValueError(f"{key} is {line[key]!r:.60}: give a list of at least one content")
    named = {f"{key}[{i}]": value for i, value in enumerate(line[key])}
    return [_content(named, name, content) for name in named]


def _scores(line, count):
    scores = line["scores"] if "scores" in line else []
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
