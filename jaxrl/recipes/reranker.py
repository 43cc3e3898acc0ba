"""Training of pointwise rerankers: pairs of query and document → yes or no → update.

    −log p(l | instruction, query, document),   l ∈ {yes, no}, over the whole vocabulary

Qwen3-VL-Reranker (arXiv:2601.04720). The rows are those of an embedder: each of a row's documents
is a pair with its query, and the first one's answer is yes. The loop is `recipes.supervised.run`;
the model is left in WORKDIR/reranker.
"""

import dataclasses
import functools

import jax
import numpy as np

from jaxrl.data import (
    embedding_batches,
    embedding_sequences,
    reranking_prompts,
    sequences,
    visual_rows,
)
from jaxrl.data.contents import Example
from jaxrl.models import checkpoints, embedder, qwen3_vl, reranker
from jaxrl.ops import contrastive_losses, ranking_metrics
from jaxrl.recipes import embed_batches, embed_plan, supervised
from jaxrl.retrieval import pair_scores
from jaxrl.training import embedding_step, setup

MODEL = "reranker"  # where a run leaves what it has made


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run's model and data."""

    base: setup.Base
    answers: reranking_prompts.Answers
    examples: list[Example]
    held_out: list[Example]  # [] = no evaluation

    def save(self, params, path):
        """Writes the trained reranker as a directory."""
        checkpoints.save(params, self.base.model, self.base.tokenizer, path)


def prepare(c, workdir):
    """As supervised.prepare."""
    return supervised.prepare(c, workdir, plan)


def run(c, workdir, p=None):
    """As supervised.run; the model goes to WORKDIR/reranker.

    p: what `prepare` returned, if the caller has done so.
    """
    p = prepare(c, workdir) if p is None else p
    batches = embedding_batches.batches(p.examples, c.data.batch, c.seed)
    return supervised.run(c, workdir, p, batches, Parts, model=MODEL, save=p.save)


def plan(c):
    """Reads all rows; raises, naming key, value and fix, on any setting that cannot work."""
    embed_plan.check_sizes(c, documents=2)
    if c.reranker.template not in reranking_prompts.TEMPLATES:
        known = ", ".join(reranking_prompts.TEMPLATES)
        raise ValueError(f"reranker.template={c.reranker.template!r}: give one of {known}")
    base = setup.open_base(c, {"data.batch": c.data.batch}, c.steps, take=_with_words)
    embedder.check_length(base.model, c.data.length)
    answers = reranking_prompts.answers(base.tokenizer)
    examples, held_out = (embed_plan.read(c, key) for key in ("path", "eval_path"))
    return Plan(base, answers, examples, held_out)


def _with_words(model):
    """The config of a decoder, or of one that sees; an encoder says neither yes nor no."""
    return model if isinstance(model, qwen3_vl.Config) else setup.language_model(model)


class Parts:
    """The functions of `supervised.run`, with what they compile, inside an open session."""

    def __init__(self, c, plan, session):
        self._c, self._plan, self._session = c, plan, session
        base = plan.base
        self._step = embedding_step.make(
            functools.partial(_words, c=base.model, how=base.how),
            functools.partial(_loss, answers=plan.answers),
            base.tx,
            base.shardings(),
            join=base.join,
            seed=base.seed,
            micro={"pair": c.learner.micro * c.data.documents} if c.learner.micro else None,
        )

    def learn(self, state, examples):
        """One update on a list of Examples."""
        with self._session.clock.stage("update"):
            arrays, counts = self._pack(examples, (self._c.seed, int(state.step)))
            arrays = self._plan.base.place_batch(arrays)
            state, stats = self._step(state, *arrays, self._session.frozen)
            stats = jax.device_get(stats)  # waits: the clock is for the work, not its dispatch
        stats["embed/accuracy"] = stats.pop("accuracy")
        return state, stats | counts

    def evaluate(self, state, done):
        """How held-out queries rank their own documents after `done` updates -> eval.jsonl."""
        held_out, data = self._plan.held_out, self._c.data
        if not held_out or not self._session.evaluates(done):
            return
        base = self._plan.base
        with self._session.clock.stage("eval"):
            params = base.join(state.params, self._session.frozen)
            score = pair_scores.scorer(
                params,
                base.model,
                base.tokenizer,
                self._c.reranker.template,
                limit=data.length,
                logits=True,
                dtype=base.how["dtype"],
            )
            row = {"step": done, "name": "held_out", "n": len(held_out)}
            self._session.writer.evaluation(row | ranked(held_out, score))

    def _pack(self, examples, seed):
        data, base, rng = self._c.data, self._plan.base, np.random.default_rng(seed)
        N, K, tower = data.batch, data.documents, embedder.tower(base.model)
        rows, mask_NK = [[base.tokenizer.pad_id]] * (N * K), np.zeros((N, K), bool)
        cut = bad = 0
        for n, x in enumerate(examples):
            chosen = embed_batches.drawn(len(x.documents), K, rng)
            found = embedding_sequences.render_pairs(
                base.tokenizer,
                self._c.reranker.template,
                [(x.query, x.documents[k]) for k in chosen],
                data.length,
                x.instruction,
                tower=tower,
                bad="skip",
            )
            for k, row in enumerate(found.rows):
                if row is not None:
                    rows[n * K + k], mask_NK[n, k] = row, True
            cut += len(found.cut)
            bad += len(found.bad)
        width = min(visual_rows.bucket(max(map(len, rows)), 16), data.length)
        read = sequences.pad(rows, width=width, pad_id=base.tokenizer.pad_id, tower=tower)
        tokens = int((read.valid & mask_NK.reshape(-1, 1)).sum())
        relevant_NK = np.broadcast_to(np.arange(K) == 0, (N, K))
        counts = {"tokens/trained": tokens, "embed/cut": cut, "embed/unreadable": bad}
        return ({"pair": read}, mask_NK, relevant_NK), counts


def ranked(examples, score):
    """{metric: mean} of each query's order of its own documents, of which the first is relevant."""
    scores = score([(x.query, d) for x in examples for d in x.documents])
    counts = [len(x.documents) for x in examples]
    table = np.full((len(examples), max(counts)), -np.inf, np.float32)
    for row, found in zip(table, np.split(scores, np.cumsum(counts)[:-1]), strict=True):
        row[: len(found)] = found
    right = np.zeros(table.shape, np.int32)
    right[:, 0] = 1
    # Of equal scores the negative comes first, or a constant would be perfect.
    grades = ranking_metrics.ranked(
        table, np.broadcast_to(np.arange(table.shape[1]), table.shape), right
    )
    of = {"ndcg@10": ranking_metrics.ndcg, "mrr@10": ranking_metrics.reciprocal_rank}
    return {name: float(metric(grades, right, k=10).mean()) for name, metric in of.items()}


def _words(params, read, *, c, how):
    return reranker.words(params, read, c, **how)


def _loss(trained, e, mask_NK, relevant_NK, *, answers):
    return contrastive_losses.yes_no_nll(
        e["pair"],
        relevant_NK.reshape(-1),
        mask_NK.reshape(-1).astype("float32"),
        **answers._asdict(),
    )
