"""Training of embedders: rows of queries and documents → vectors → a loss over the batch → update.

One recipe for the stages of Qwen3-VL-Embedding (arXiv:2601.04720: contrastive, multi-task,
distillation) and of E2Rank (arXiv:2510.22733), which differ in data and loss: configs/embed*.py.
The loop is `recipes.supervised.run`. A run leaves its model in WORKDIR/embedder, a directory that
launch.encode and sentence-transformers open.
"""

import functools

import jax

from jaxrl.algos import embedding_objectives
from jaxrl.models import embedder
from jaxrl.parallel import rules
from jaxrl.recipes import embed_plan, supervised
from jaxrl.recipes.embed_evaluation import Evaluation
from jaxrl.training import embedding_step, metrics

MODEL = "embedder"  # where a run leaves what it has made


def prepare(c, workdir):
    """As supervised.prepare."""
    return supervised.prepare(c, workdir, embed_plan.plan)


def run(c, workdir, p=None):
    """As supervised.run; the model goes to WORKDIR/embedder.

    p: what `prepare` returned, if the caller has done so.
    """
    p = prepare(c, workdir) if p is None else p
    return supervised.run(c, workdir, p, p.batches(), Parts, model=MODEL, save=p.save)


class Parts:
    """The functions of `supervised.run`, with what they compile, inside an open session."""

    def __init__(self, c, plan, session):
        self._c, self._plan, self._session = c, plan, session
        self._steps = {}  # loss -> its compiled step
        how = c.eval.shown, c.data.prompt_length
        self._evaluation = Evaluation(plan, *how) if plan.held_out else None

    def learn(self, state, examples):
        """One update on a list of Examples."""
        with self._session.clock.stage("update"):
            loss, packer = self._plan.of(examples)
            batch = packer(examples, (self._c.seed, int(state.step)))
            place = self._plan.base.place_batch
            arrays = place((batch.inputs, batch.labels, batch.target_NK))
            state, stats = self._step(loss, packer)(state, *arrays, self._session.frozen)
            stats = jax.device_get(stats)  # waits: the clock is for the work, not its dispatch
        named = {NAMES[name]: x for name, x in stats.items() if name in NAMES}
        known = {name: x for name, x in stats.items() if name in metrics.SCHEMA}
        counts = {"tokens/trained": batch.tokens, "embed/cut": batch.cut}
        return state, named | known | counts | {"embed/unreadable": batch.unreadable}

    def evaluate(self, state, done):
        """Held-out retrieval after `done` updates, when due -> rows of eval.jsonl."""
        if self._evaluation is None or not self._session.evaluates(done):
            return
        with self._session.clock.stage("eval"):
            params = self._plan.base.join(state.params, self._session.frozen)
            for row in self._evaluation(params):
                self._session.writer.evaluation({"step": done} | row)

    def _step(self, loss, packer):
        base = self._plan.base
        if loss not in self._steps:
            self._steps[loss] = embedding_step.make(
                functools.partial(_vectors, c=self._plan.embedder, how=base.how),
                functools.partial(_loss, c=loss),
                base.tx,
                base.shardings(),
                join=base.join,
                seed=base.seed,
                micro=embed_plan.micro(packer, self._plan.micro),
            )
        return self._steps[loss]


NAMES = {  # a stat of an objective -> the metric's name
    "accuracy": "embed/accuracy",
    "positive": "embed/positive",
    "false_negatives": "embed/false_negatives",
    "rank_net": "embed/rank_net",
    "rank_accuracy": "embed/rank_accuracy",
}


def _vectors(params, read, *, c, how):
    return embedder.embed(params, read, c, **how)


def _loss(trained, e, labels, target_NK, *, c):
    N, K = target_NK.shape
    e = e | {"document": e["document"].reshape(N, K, -1)}
    steps = embed_plan.steps(trained.get("steps", {}))
    split = rules.TRAIN["batch"]
    return embedding_objectives.evaluate(steps, e, labels, target_NK, c, split=split)
