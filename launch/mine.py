"""Mines hard negatives for a file of rows with an embedder, and writes the rows with them.

    python -m launch.mine --rows=FILE --model=MODEL --out=FILE
    python -m launch.mine --rows=FILE --model=MODEL --out=FILE --corpus=BEIR_DIR --share=0.95

Rows are those of jaxrl/data/embedding_rows.py with query and positives; models and corpora those of
launch.encode. Without a corpus, negatives come from all documents of the rows of the same source.
A query is encoded with the instruction of its row: the model is opened once for each that there is.
"""

import os
import sys

from absl import app, flags

from jaxrl import json_lines
from jaxrl.data import embedding_rows
from jaxrl.data.contents import Content
from jaxrl.retrieval import documents, encoders, mining
from jaxrl.retrieval.mining import MiningConfig

ROWS = flags.DEFINE_string("rows", None, "What to mine for.", required=True)
MODEL = flags.DEFINE_string("model", None, "Who encodes.", required=True)
OUT = flags.DEFINE_string("out", None, "Where the rows go: a new file.", required=True)
CORPUS = flags.DEFINE_string("corpus", None, "Documents to find negatives among.")
BAD = flags.DEFINE_enum("bad", "refuse", ["refuse", "skip"], "What to do about its broken lines.")
INSTRUCTIONS = flags.DEFINE_bool(
    "instructions", True, "Encode queries with the instructions of their rows."
)
CANDIDATES = flags.DEFINE_integer(
    "candidates", MiningConfig.candidates, "Best documents looked at."
)
NEGATIVES = flags.DEFINE_integer("negatives", MiningConfig.negatives, "Of a row, at most.")
T_PLUS = flags.DEFINE_float("t_plus", MiningConfig.t_plus, "A positive must score more.")
SHARE = flags.DEFINE_float(
    "share", MiningConfig.share, "Negatives score less than share × mean of the positives + delta."
)
DELTA = flags.DEFINE_float("delta", MiningConfig.delta, "See --share.")
DRAW = flags.DEFINE_bool("draw", MiningConfig.draw, "Negatives at random, not the nearest.")
SEED = flags.DEFINE_integer("seed", MiningConfig.seed, "Of the draw.")


def main(argv):
    """Refuses in one line what cannot work; mines, writes, and says what became of the rows."""
    try:
        if argv[1:]:
            raise ValueError(f"unexpected argument {argv[1]!r}: see --help")
        folder = _folder()
        knobs = CANDIDATES, NEGATIVES, T_PLUS, SHARE, DELTA, DRAW, SEED
        c = MiningConfig(*(flag.value for flag in knobs))
        rows, doubled = embedding_rows.read_rows(ROWS.value)
        corpus = _corpus()
        found, counts = mining.mine(rows, _opener(), c, corpus)
        if not found:
            raise ValueError("no row is left: lower --t_plus, or raise --candidates")
    except (ValueError, TypeError, OSError, FloatingPointError) as error:
        sys.exit(f"launch.mine: {error}")
    json_lines.write(OUT.value, (embedding_rows.written(row, folder) for row in found))
    told = [f"{n:,} {name}" for name, n in (doubled | counts).items() if n]
    print(f"{OUT.value}: {len(found):,} of {len(rows):,} rows; {', '.join(told)}")


def _folder():
    """Of --out, which must be there while the file must not."""
    folder = os.path.dirname(OUT.value) or "."
    if os.path.exists(OUT.value):
        raise ValueError(f"--out={OUT.value} is there already: give another name, or remove it")
    if not os.path.isdir(folder):
        raise ValueError(f"--out={OUT.value}: there is no directory {folder}; make it first")
    return folder


def _corpus():
    if not CORPUS.value:
        return []
    corpus = documents.open_corpus(CORPUS.value, bad=BAD.value)
    for reason, n in corpus.skipped.items():
        print(f"{CORPUS.value}: {n:,} lines skipped ({reason})", file=sys.stderr)
    found = corpus.read(0, len(corpus.ids))
    return [content if isinstance(content, Content) else Content(content) for content in found]


def _opener():
    """instruction -> Encoder."""
    if INSTRUCTIONS.value:
        return lambda instruction: encoders.open_encoder(MODEL.value, instruction)
    encoder = encoders.open_encoder(MODEL.value)
    return lambda _: encoder


if __name__ == "__main__":
    app.run(main)
