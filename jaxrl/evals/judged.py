"""Retrieval tasks: documents, queries and who is relevant to whom, from BEIR's and BRIGHT's files.

    read_beir("scifact")      corpus.jsonl, queries.jsonl, qrels/test.tsv
    read_bright("biology")    documents.jsonl, examples.jsonl: its two tables as JSON lines

What is broken is refused by an error that lists it, or with bad="skip" left out and counted. Only a
judgement of a document that the corpus has not stays then, as it does in trec_eval: nobody can find
the document, and it counts as missed.
"""

from pathlib import Path
from typing import NamedTuple

from jaxrl.retrieval import documents as corpora
from jaxrl.retrieval.documents import Documents

HEADER = ["query-id", "corpus-id", "score"]  # of BEIR's qrels


class Task(NamedTuple):
    """What a searcher is evaluated on."""

    name: str
    documents: Documents
    queries: dict[str, str]  # those that have judgements
    qrels: dict[str, dict[str, int]]  # query -> document -> grade; not named: 0
    excluded: dict[str, frozenset[str]]  # query -> documents that do not count for it (BRIGHT)
    skipped: dict[str, int]  # reason -> number


def read_beir(folder, split="test", *, bad="refuse"):
    """The Task of a BEIR directory; queries without a judgement in this split are left out.

    A document with the id of a query does not count for it, as in BEIR's own evaluation: some sets
    draw their queries from the corpus.
    """
    folder, broken = Path(folder), []
    documents = corpora.open_corpus(folder, bad=bad)
    texts = {}
    for number, (id, text) in _rows(folder / "queries.jsonl", broken):
        _keep(texts, id, text, number, broken)
    qrels = _qrels(folder / "qrels" / f"{split}.tsv", broken)
    excluded = {id: frozenset([id]) for id in texts.keys() & set(documents.ids)}
    return _task(folder.name, documents, texts, qrels, excluded, broken, bad)


def read_bright(folder, *, long=False, bad="refuse"):
    """The Task of a BRIGHT directory (arXiv:2407.12883). long: its documents are the long ones."""
    folder, broken = Path(folder), []
    documents = corpora.open_corpus(folder / "documents.jsonl", bad=bad)
    texts, qrels, excluded = {}, {}, {}
    keys = (("id",), ("query",), ("gold_ids_long" if long else "gold_ids",), ("excluded_ids",))
    for number, (id, text, gold, left_out) in _rows(folder / "examples.jsonl", broken, keys):
        if not all(isinstance(ids, list) for ids in (gold, left_out)):
            broken.append(("malformed", f"examples.jsonl, line {number}: ids must be lists"))
        elif _keep(texts, str(id), text, number, broken):
            qrels[str(id)] = dict.fromkeys(map(str, gold), 1)
            excluded[str(id)] = frozenset(map(str, left_out)) - {"N/A"}  # as its files say "none"
    return _task(folder.name, documents, texts, qrels, excluded, broken, bad)


def _task(name, documents, texts, qrels, excluded, broken, bad):
    """The Task of what was read; ValueError that lists what is broken, unless it is skipped."""
    known = set(documents.ids)
    for query, judged in qrels.items():
        if query not in texts:
            broken.append(("unknown_query", f"qrels name the query {query!r}, which has no text"))
        for id in judged.keys() - known:
            broken.append(
                ("unknown_document", f"qrels of {query!r} name {id!r}, not in the corpus")
            )
    if broken and bad == "refuse":
        raise ValueError(corpora.listing(name, [why for _, why in broken]))
    queries = {id: text for id, text in texts.items() if id in qrels}
    if not queries:
        raise ValueError(f"{name}: no query has both a text and a judgement")
    skipped = dict(documents.skipped)
    for kind, _ in broken:
        skipped[kind] = skipped.get(kind, 0) + 1
    if len(texts) > len(queries):
        skipped["without_judgement"] = len(texts) - len(queries)
    return Task(name, documents, queries, {q: qrels[q] for q in queries}, excluded, skipped)


def _keep(texts, id, text, number, broken):
    """Adds a query, if there is nothing wrong with it."""
    if not isinstance(text, str) or not text.strip():
        broken.append(("empty_query", f"line {number}: the query {id!r} has no text"))
    elif id in texts:
        broken.append(("duplicate_query", f"line {number}: the query {id!r} stands twice"))
    else:
        texts[id] = text
        return True
    return False


def _rows(file, broken, keys=(corpora.IDS, ("text",))):
    """Yields (line number, values of the keys) of a .jsonl file."""
    for number, line in enumerate(_opened(file).splitlines(), start=1):
        if line.strip():
            try:
                yield number, corpora.parse(line, keys)[1]
            except ValueError as e:
                broken.append(("malformed", f"{file.name}, line {number}: {e}"))


def _qrels(file, broken):
    """{query: {document: grade}} of a file of BEIR's, whose first line may be its header."""
    found = {}
    for number, line in enumerate(_opened(file).decode("utf-8-sig").splitlines(), start=1):
        cells = line.rstrip("\n").split("\t")
        if not line.strip() or (number == 1 and cells == HEADER):
            continue
        try:
            query, id, grade = cells
            found.setdefault(query, {})[id] = int(grade)
        except ValueError:
            form = "query, document and a whole number, with tabs between them"
            broken.append(("malformed", f"{file.name}, line {number}: {line!r} must be {form}"))
    return found


def _opened(file):
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; see jaxrl/evals/judged.py for the layout")
    return file.read_bytes()
