"""Encodes a corpus into an index on disk; killed and run again, it goes on where it stopped.

    python -m launch.encode --corpus=FILE_OR_BEIR_DIR --model=MODEL --out=DIR
    python -m launch.encode --from=DIR --dtype=int8 --out=DIR8        # of an index; encodes nothing

A corpus is a .jsonl file of {"_id", "title", "text"} lines, or a BEIR directory; for a model that
sees, a line may have an "image" and a "video" too, paths from the file's folder. A model is a
checkpoint (a directory, a .gguf file, package:NAME/FILE), perhaps with #dim=256,pooling=mean behind
it, or "module:function" that returns an Encoder: jaxrl/retrieval/encoders.py.

--bad=skip leaves out broken lines and documents whose pictures or clips cannot be read. Both are
counted; the latter are named, and keep their place in the index without a row.
"""

import sys

from absl import app, flags

from jaxrl.retrieval import build, documents, index
from jaxrl.retrieval.codes import CODES
from jaxrl.retrieval.encoders import open_encoder

CORPUS = flags.DEFINE_string("corpus", None, "What to encode.")
MODEL = flags.DEFINE_string("model", None, "Who encodes it.")
OUT = flags.DEFINE_string("out", None, "Directory of the index.", required=True)
FROM = flags.DEFINE_string("from", None, "An index of float32, in place of a corpus and a model.")
DTYPE = flags.DEFINE_enum("dtype", "float32", list(CODES), "How rows are stored.")
SHARD = flags.DEFINE_integer("shard", 16384, "Documents of a file.", lower_bound=1)
BATCH = flags.DEFINE_integer("batch", 1024, "Documents handed to the model at once.", lower_bound=1)
BAD = flags.DEFINE_enum(
    "bad", "refuse", ["refuse", "skip"], "What to do about broken lines and pictures."
)
NOT_FINITE = flags.DEFINE_enum(
    "not_finite", "refuse", ["refuse", "count"], "What to do about rows that are not finite."
)
NAMED = 20  # documents without a row that are named


def main(argv):
    """Refuses in one line what cannot work; encodes, and says what was done."""
    try:
        if argv[1:]:
            raise ValueError(f"unexpected argument {argv[1]!r}: see --help")
        counts = _recode() if FROM.value else _encode()
    except (ValueError, TypeError, OSError) as error:
        sys.exit(f"launch.encode: {error}")
    header = index.read_header(OUT.value)
    told = ", ".join(f"{n:,} {name}" for name, n in counts.items() if n)
    print(f"{OUT.value}: {header['count']:,} documents, {header['dim']} dimensions, {told}")
    _list_absent()


def _encode():
    for flag in (CORPUS, MODEL):
        if not flag.value:
            raise ValueError(f"give --{flag.name}, or an index by --from")
    corpus = documents.open_corpus(CORPUS.value, bad=BAD.value)
    skip = BAD.value == "skip"  # an encoder gives NaN for what it could not read
    c = build.IndexConfig(
        DTYPE.value, SHARD.value, BATCH.value, "count" if skip else NOT_FINITE.value
    )
    encoder = open_encoder(MODEL.value, bad=BAD.value)
    counts = build.build(OUT.value, corpus, encoder, c, model=MODEL.value)
    return counts | {f"skipped ({reason})": n for reason, n in corpus.skipped.items()}


def _list_absent():
    """Names documents without a row, which no search finds."""
    made = index.open_index(OUT.value, checksums=False)
    listed = ", ".join(made.ids[n] for n in made.absent[:NAMED])
    more = len(made.absent) - NAMED
    if listed:
        print(f"without a row: {listed}" + (f" and {more:,} more" if more > 0 else ""))


def _recode():
    if CORPUS.value or MODEL.value:
        raise ValueError(
            "--from takes the place of --corpus and --model: give the one or the other"
        )
    return build.recode(index.open_index(FROM.value), OUT.value, DTYPE.value)


if __name__ == "__main__":
    app.run(main)
