"""Training of embedders: rows of queries and documents → vectors → a loss over the batch → update.

One recipe for the stages of Qwen3-VL-Embedding (arXiv:2601.04720: contrastive, multi-task,
distillation) and of E2Rank (arXiv:2510.22733), which differ in data and loss: configs/embed*.py.
The loop is `recipes.sft.train`. A run leaves its model in WORKDIR/embedder, a directory that
launch.encode and sentence-transformers open.
"""

import functools
from pathlib import Path

import jax

from jaxrl.algos import embedding_objectives
from jaxrl.models import embedder
from jaxrl.parallel import hosts, rules
from jaxrl.recipes import embed_plan, sft
from jaxrl.recipes.embed_evaluation import Evaluation
from jaxrl.report import page
from jaxrl.training import embedding_step, metrics, setup
from jaxrl.training.session import Session

MODEL = "embedder"  # where a run leaves what it has made


def prepare(c, workdir):
    """The Plan of a run, new or resumed; raises on bad settings before anything is computed."""
    p = embed_plan.plan(c)
    setup.write_config(c, workdir)
    return p


def run(c, workdir, p=None):
    """Trains as `c` says, or goes on with what `workdir` holds; writes the model and the report.

    p: what `prepare` returned, if the caller has done so.  returns: rows of eval.jsonl, oldest
    first.
    """
    p = prepare(c, workdir) if p is None else p
    if hosts.first():
        metrics.print_config(c.to_dict())
    batches = p.batches()
    with Session(c, p.base, workdir, batches) as s:
        parts = Parts(c, p, s)
        parts.evaluate(s.state, s.start)
        state = sft.train(c, s.state, batches, parts.learn, parts.after)
        s.save(state)
        if int(state.step) >= c.steps:
            p.save(state.params, s.frozen, Path(workdir) / MODEL)
    if hosts.first():
        page.write(workdir)
    return metrics.read_rows(Path(workdir) / "eval.jsonl")[0]


class Parts:
    """The functions of `sft.train`, with what they compile, inside an open session."""

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

    def after(self, state, i, stats):
        """Logs update i, evaluates and saves when due; True if a signal asked to stop."""
        self.evaluate(state, i + 1)
        return self._session.record(state, i, stats, stats["tokens/trained"])

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
