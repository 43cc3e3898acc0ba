"""Searches an index that launch.encode made, and prints the best as a table.

    python -m launch.search --index=DIR --query="why is the sky blue"
    python -m launch.search --index=DIR8 --exact=DIR --corpus=FILE_OR_BEIR_DIR < QUERIES
    python -m launch.search --index=DIR --image=cat.png --query="the same animal by night"

Without --query and --image, each line of the standard input is a query. An image belongs to every
query, or is one by itself. The times are those of encoding the query
and of looking at every row, after one search that is not counted, since it compiles.
"""

import functools
import sys
import time

from absl import app, flags
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxrl.data import contents
from jaxrl.retrieval import documents, encoders, index, search

INDEX = flags.DEFINE_string("index", None, "Directory of the index.", required=True)
QUERY = flags.DEFINE_multi_string("query", [], "What to search for; may be repeated.")
IMAGE = flags.DEFINE_multi_string("image", [], "A picture of the query; may be repeated.")
TOP = flags.DEFINE_integer("top", 10, "Documents that are shown.", lower_bound=1)
MODEL = flags.DEFINE_string("model", None, "Who encodes queries, if not by the index's own name.")
INSTRUCTION = flags.DEFINE_string(
    "instruction", None, "What queries ask for, if the model is told."
)
EXACT = flags.DEFINE_string("exact", None, "The same index in float32, to rescore the best.")
CORPUS = flags.DEFINE_string("corpus", None, "The documents, to show their texts.")
RESIDENT = flags.DEFINE_bool("resident", True, "Keep all rows on the devices, not in the files.")
CHECKSUMS = flags.DEFINE_bool("checksums", True, "Read the files once to compare checksums.")
WIDTH = 90  # characters of a text that are shown


def main(argv):
    """Opens the index, then answers one query after another."""
    try:
        if argv[1:]:
            raise ValueError(f"unexpected argument {argv[1]!r}: see --help")
        encoder = encoders.open_encoder(_model(), INSTRUCTION.value)
        opened = functools.partial(index.open_index, encoder=encoder, checksums=CHECKSUMS.value)
        source = opened(INDEX.value)
        exact = opened(EXACT.value) if EXACT.value else None
        find = search.finder(source, exact=exact, resident=RESIDENT.value)
        corpus = documents.open_corpus(CORPUS.value, bad="skip") if CORPUS.value else None
        find(encoder.queries([_asked("a first query")]), TOP.value)
    except (ValueError, TypeError, OSError) as error:
        sys.exit(f"launch.search: {error}")
    place = {id: n for n, id in enumerate(corpus.ids)} if corpus else {}
    for query in QUERY.value or ([""] if IMAGE.value else map(str.strip, sys.stdin)):
        if not query and not IMAGE.value:
            print("an empty query finds nothing", file=sys.stderr)
            continue
        hits, times = _timed(encoder, find, _asked(query))
        listed = [n for n in hits.numbers[0] if n != search.NONE]
        known = [place.get(source.ids[n]) for n in listed]
        texts = ["" if n is None else corpus.read(n, n + 1)[0] for n in known]
        ids = [source.ids[n] for n in listed]
        asked = documents.shown(_asked(query))
        _show(asked, times, zip(ids, hits.scores[0], texts, strict=False))


def _model():
    """The name of the model, as given or as the index has it."""
    header = index.read_header(INDEX.value)
    if MODEL.value or header is None:
        return MODEL.value or index.open_index(INDEX.value)  # an error: there is no index
    if not header["model"]:
        raise ValueError(f"--index={INDEX.value} does not say its model: give --model")
    return header["model"]


def _asked(query):
    """A query as the encoder takes it, with the pictures of the command line."""
    return contents.Content(query, images=tuple(IMAGE.value)) if IMAGE.value else query


def _timed(encoder, find, query):
    """(Hits, what took how long)."""
    start = time.perf_counter()
    row = encoder.queries([query])
    middle = time.perf_counter()
    hits = find(row, TOP.value)
    encoding, looking = 1e3 * (middle - start), 1e3 * (time.perf_counter() - middle)
    return hits, f"encoded in {encoding:.1f} ms, searched in {looking:.1f} ms"


def _show(query, times, rows):
    """Prints one table. rows: (id, score, content)."""
    table = Table("", "score", "id", "text", title=Text(query), caption=times, title_justify="left")
    for rank, (id, score, content) in enumerate(rows, start=1):
        table.add_row(str(rank), f"{score:.4f}", Text(id), Text(documents.shown(content)[:WIDTH]))
    Console(width=None if sys.stdout.isatty() else 140).print(table)


if __name__ == "__main__":
    app.run(main)
