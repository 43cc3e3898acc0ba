"""Distillation in one command: a reranker scores rows, an embedder learns its distribution.

    WORKDIR/scored.jsonl      the rows with the teacher's logits, log odds of yes over no
    WORKDIR/student           the run (recipes/embed.py), with its report and its embedder

Stage 3 of Qwen3-VL-Embedding (arXiv:2601.04720), whose teacher's logits are computed beforehand,
too. The scores are written once; a run that is resumed reads them.
"""

import dataclasses
import functools
from pathlib import Path

import numpy as np

from jaxrl import json_lines
from jaxrl.data import embedding_rows
from jaxrl.models import checkpoints
from jaxrl.parallel import hosts
from jaxrl.recipes import embed, stages
from jaxrl.retrieval import pair_scores
from jaxrl.training import setup


def prepare(c, workdir):
    """The Plan of the student, for which the teacher scores its rows, if none has yet."""
    workdir = Path(workdir)
    setup.write_config(c, workdir)
    if c.teacher.checkpoint and hosts.first():
        stages.once(workdir / "scored.jsonl", functools.partial(_score, c))
    hosts.meet()
    return embed.prepare(_student(c, workdir), workdir / "student")


def run(c, workdir, p=None):
    """The student's training.  returns: the rows of its eval.jsonl."""
    p = prepare(c, workdir) if p is None else p
    return embed.run(_student(c, Path(workdir)), Path(workdir) / "student", p)


def _student(c, workdir):
    made = c.student.copy_and_resolve_references()
    if c.teacher.checkpoint:
        made.data.path = str(workdir / "scored.jsonl")
    return made


def _score(c, path):
    """Writes the rows with the teacher's logit of each document."""
    teacher = c.teacher
    source = checkpoints.cached_hf(checkpoints.source(teacher.checkpoint))
    model = checkpoints.config(source)
    score = pair_scores.scorer(
        checkpoints.load(source, model),
        model,
        checkpoints.tokenizer(source, model),
        teacher.template,
        limit=teacher.length,
        logits=True,
        progress=True,
    )
    rows = embedding_rows.read_rows(c.student.data.path).found
    pairs = [(x.query, d) for x in rows for d in (*x.positives, *x.negatives)]
    counts = [len(x.positives) + len(x.negatives) for x in rows]
    scores = np.split(score(pairs), np.cumsum(counts)[:-1])
    scored = (
        dataclasses.replace(x, scores=tuple(found.tolist()))
        for x, found in zip(rows, scores, strict=True)
    )
    json_lines.write(path, (embedding_rows.written(x, path.parent) for x in scored))
