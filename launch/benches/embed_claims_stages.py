"""Qwen3-VL-Embedding's stages on text: contrastive, multi-task, distilled, merged; and few numbers.

Stage 1 pairs each sentence with the one that follows it, by the whole InfoNCE. Stage 2 has two
sources: questions with hard negatives (BM25's), and sentences that are to find their article's
title among others. Stage 3 is distilled from scores of BM25 and the untrained embedder together,
the right sentence first. All learn prefixes, int8 and signs; "stage 2, plain" is the second stage
without those.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.data import embedding_rows
from jaxrl.evals import retrieval
from jaxrl.models import embedder_files
from jaxrl.ops import embedding_quantization as bits
from jaxrl.ops.embeddings import truncate
from jaxrl.recipes import embed, embed_evaluation, merge, merge_probe
from jaxrl.retrieval import encoders, search
from launch.benches import embed_data, several, tables
from launch.benches.embed_claims_e2rank import MODEL, config, write

DIMS = (384, 128, 64, 32)
COMPACT = {"loss.dims": DIMS, "loss.formats": ("int8", "binary")}
CONTRASTIVE = {"loss.name": "info_nce", "loss.query_query": True, "loss.document_document": True}
DISTILLED = {"loss.name": "distillation", "loss.teacher_temperature": 0.7}
STAGES = {  # name -> (rows, documents and batch, updates and rate, loss)
    "stage 1, contrastive": ("weak", (1, 32), (30, 2e-5), CONTRASTIVE),
    "stage 2, multi-task": ("tasks", (4, 12), (80, 5e-5), {}),
    "stage 3, distilled": ("scored", (10, 6), (40, 1e-5), DISTILLED),
}
SHARES = (0.25, 0.5, 0.75)  # of stage 3 in the merged model
TITLES, TOLD = 6, 300  # titles to choose from in training; sentences of the test


def run(folder, seeds, drawn):
    """Yields a row for each stage and task, and for each prefix and format."""
    write_rows(folder)
    measure = Measure(folder)
    found = {}
    for seed in range(seeds):
        with several.quiet(folder / "log.txt"):
            for name, path in _trained(folder, seed):
                found.setdefault(name, []).append(measure(path))
    for task in ("retrieval", "classification"):
        unit = {"retrieval": "nDCG@10", "classification": "hit@1"}[task]
        drawn[f"stages, {task}"] = _intervals(found, task)
        for name, (mean, half) in drawn[f"stages, {task}"].items():
            yield tables.Row(f"{task}: {name} (± {half:.3f})", float(mean), unit)
    for kept in measure.kept:
        plain = float(_intervals(found, kept)["stage 2, plain"][0])
        mean, half = _intervals(found, kept)["stage 2, multi-task"]
        drawn.setdefault("prefixes", {})[kept] = (mean, half, plain)
        yield tables.Row(
            f"{kept}: trained for it (± {half:.3f})", float(mean), "nDCG@10", "not", plain
        )


def _intervals(found, key):
    return {name: several.interval([one[key] for one in runs]) for name, runs in found.items()}


def _trained(folder, seed):
    """Yields (stage, directory of its embedder)."""
    start, made = MODEL, []
    yield "MiniLM, before", MODEL
    for number, (name, (rows, *how)) in enumerate(STAGES.items()):
        changes, where = _changes(*how), folder / f"stage-{number}-{seed}"
        embed.run(config(folder, start, rows, seed, changes | COMPACT), where)
        if rows == "tasks":
            plain = folder / f"plain-{seed}"
            embed.run(config(folder, start, rows, seed, changes), plain)
            yield "stage 2, plain", plain / embed.MODEL
        start = where / embed.MODEL
        made.append(start)
        yield name, start
    yield "merged", _merged(made[0], made[1:], folder / "probe.jsonl", folder / f"merged-{seed}")


def _changes(sizes, length, loss):
    sizes = dict(zip(("data.documents", "data.batch"), sizes, strict=True))
    return sizes | dict(zip(("steps", "optimizer.lr"), length, strict=True)) | loss


def _merged(base, models, probe, out):
    """The best place on the arc from the second stage to the third, by rows that no stage saw."""
    family = merge.opened(str(base), list(map(str, models)))
    rows = merge_probe.read(str(probe), family.c, family.tokenizer)
    _, share = merge.sweep(family, rows, SHARES)
    embedder_files.save(merge.slerped(family, share), family.c, family.tokenizer, out)
    return out


class Measure:
    """A directory -> {task: figure} on the held-out articles."""

    def __init__(self, folder):
        _, half = embed_data.halves()
        rows = embedding_rows.read(folder / "test.jsonl").found
        self._contents, asked, self._task = embed_evaluation.task(rows)
        self._asked = [query for query, _ in asked]
        rng = np.random.default_rng(1)
        self._told = rng.permutation(len(half.sentences))[:TOLD]
        self._sentences = [half.sentences[n] for n in self._told]
        self._titles = sorted(set(half.titles))
        self._right = np.array([self._titles.index(half.titles[n]) for n in self._told])
        self.kept = [f"{m} numbers" for m in DIMS[1:]] + ["int8", "binary"]

    def __call__(self, path):
        encoder = encoders.open_encoder(f"{path}#limit=64")
        document_CD = encoder.documents([x.text for x in self._contents])
        query_QD = encoder.queries([x.text for x in self._asked])
        told = encoder.queries(self._sentences) @ encoder.documents(self._titles).T
        found = {"classification": float((told.argmax(1) == self._right).mean())}
        found["retrieval"] = self._ndcg(query_QD, document_CD)
        for m in DIMS[1:]:
            found[f"{m} numbers"] = self._ndcg(truncate(query_QD, m), truncate(document_CD, m))
        step = bits.initial_step(document_CD)
        codes = [bits.to_int8(x, step) for x in (query_QD, document_CD)]
        found["int8"] = self._scored(bits.int8_cosines(*codes))
        signs = [jnp.sign(x) for x in (query_QD, document_CD)]
        return found | {"binary": self._ndcg(*signs)}

    def _ndcg(self, query_QD, document_CD):
        return self._scored(query_QD @ document_CD.T)

    def _scored(self, scores_QC):
        scores_QC = np.asarray(jax.device_get(scores_QC), np.float32)
        numbers = np.broadcast_to(np.arange(scores_QC.shape[1]), scores_QC.shape)
        hits = search.ordered(scores_QC, numbers, 10)
        return float(retrieval.score(self._task, hits, ("ndcg@10",))["ndcg@10"].mean())


def write_rows(folder):
    """weak.jsonl, tasks.jsonl, scored.jsonl and probe.jsonl, beside those of E2Rank's part."""
    half, _ = embed_data.halves()
    rng = np.random.default_rng(2)
    followed = [n for n, after in enumerate(half.after) if after >= 0]
    pair = lambda n: {"query": half.sentences[n], "positives": [half.sentences[half.after[n]]]}
    write(folder / "weak.jsonl", (pair(n) for n in rng.permutation(followed)[:2000]))
    questions = [half.questions[i] for i in rng.permutation(len(half.questions))[:1500]]
    encoder = encoders.open_encoder(f"{MODEL}#limit=64")
    ranked = embed_data.ranked(half, questions, 10, encoder)
    rows = [
        (q.text, [half.sentences[n] for n in numbers], scores.tolist())
        for q, (numbers, scores) in zip(questions, ranked, strict=True)
        if len(numbers) == 10
    ]
    asked = [_asked(*row) for row in rows]
    told = [_told(half, n, rng) for n in rng.permutation(len(half.sentences))[:600]]
    unscored = [{k: v for k, v in row.items() if k != "scores"} for row in asked]
    write(folder / "tasks.jsonl", unscored[:1000] + told[:500])
    write(folder / "scored.jsonl", asked[:1000])
    few = lambda row: row | {"negatives": row["negatives"][:3]}  # a search embeds them all, often
    write(folder / "probe.jsonl", map(few, unscored[1000:1040] + told[500:540]))


def _asked(query, documents, scores):
    row = {"source": "questions", "query": query, "positives": documents[:1]}
    return row | {"negatives": documents[1:], "scores": scores}


def _told(half, n, rng):
    """A sentence, the title of its article, and others'."""
    others = sorted(set(half.titles) - {half.titles[n]})
    drawn = rng.permutation(len(others))[: TITLES - 1]
    row = {"source": "titles", "kind": "classification", "query": half.sentences[n]}
    return row | {"positives": [half.titles[n]], "negatives": [others[i] for i in drawn]}
