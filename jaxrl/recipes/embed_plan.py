"""What a run of an embedder builds from, read and checked before anything is computed."""

import dataclasses
import math
from pathlib import Path

import jax.numpy as jnp
from absl import logging

from jaxrl.algos.embedding_objectives import ContrastiveConfig
from jaxrl.data import embedding_batches, embedding_rows
from jaxrl.data.contents import Example
from jaxrl.data.tokenizers import Tokenizer
from jaxrl.models import embedder, embedder_files, forms
from jaxrl.models.spec import Spec
from jaxrl.recipes.embed_batches import Packer
from jaxrl.training import setup

IN_ORDER = ("distillation", "margin_mse", "list_mle", "lambda_loss", "e2rank")


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run's model, loss and data."""

    base: setup.Base
    embedder: embedder.Config
    tokenizer: Tokenizer
    loss: ContrastiveConfig
    packer: Packer
    examples: list[Example]
    held_out: list[Example]  # [] = no evaluation
    micro: int  # rows of a micro-batch; 0 = all at once
    seed: int

    def of(self, examples):
        """(loss, Packer) of a batch: graded pairs have CoSENT, and no documents but one."""
        if not examples[0].graded_pair:
            return self.loss, self.packer
        return cosent(self.loss), dataclasses.replace(self.packer, documents=1, prompt_length=0)

    def batches(self):
        """The endless, resumable iterator of lists of Examples."""
        return embedding_batches.batches(self.examples, self.packer.rows, self.seed)

    def save(self, params, path):
        """Writes the trained embedder as a directory."""
        params = {k: x for k, x in params.items() if k != "steps"}
        embedder_files.save(params, self.embedder, self.tokenizer, path)


def plan(c):
    """Reads the model's files and all rows; raises, naming key, value and fix, on any setting that
    cannot work."""
    loss = ContrastiveConfig(**{k: v for k, v in c.loss.items() if v is not None})
    check_sizes(c, documents=2 if loss.name in IN_ORDER else 1)
    base = setup.open_base(
        c, {"data.batch": c.data.batch}, c.steps, specs=specs(loss), take=embedder_files.headless
    )
    given = {key: value for key, value in c.embedder.items() if value}
    found, tokenizer = embedder_files.open_embedder(base.path, **given)
    for m in loss.dims:
        if m > found.width:
            raise ValueError(f"loss.dims={loss.dims}: {m} is beyond the model's {found.width}")
    lengths = ("query_length", "document_length") + ("prompt_length",) * bool(
        loss.listwise or c.eval.shown
    )
    for key in lengths:
        if not 1 < c.data[key] <= found.longest:
            raise ValueError(
                f"data.{key}={c.data[key]}: the model reads up to {found.longest} tokens; give 2 "
                "to that"
            )
    packer = Packer(
        tokenizer=tokenizer,
        template=found.template,
        rows=c.data.batch,
        documents=c.data.documents,
        query_length=c.data.query_length,
        document_length=c.data.document_length,
        prompt_length=c.data.prompt_length if loss.listwise else 0,
        in_order=loss.name in IN_ORDER,
        tower=found.tower,
    )
    examples, held_out = (read(c, key) for key in ("path", "eval_path"))
    _check_targets(c, loss, examples)
    return Plan(
        base, found, tokenizer, loss, packer, examples, held_out, c.learner.micro, seed=c.seed
    )


def read(c, key):
    """The Examples of the file that data.path or another key names; [] where the other is empty."""
    if key != "path" and not c.data[key]:
        return []
    if not Path(c.data[key]).is_file():
        raise FileNotFoundError(f"data.{key}={c.data[key]!r} is no file: give one of JSON lines")
    found, counts = embedding_rows.read(c.data[key])
    for why, count in counts.items():
        if count:
            logging.warning("data.%s=%r: left out %d %s", key, c.data[key], count, why)
    said = c.data.instruction or None
    return [dataclasses.replace(x, instruction=x.instruction or said) for x in found]


def cosent(loss):
    """The loss of graded pairs in a run whose other rows have `loss`: stage 2 of Qwen3-VL-Embedding
    (arXiv:2601.04720). That τ is the same is our choice."""
    same = ("dims", "dim_weights", "formats", "quantized_weight")
    kept = {key: getattr(loss, key) for key in same}
    return ContrastiveConfig(name="cosent", temperature=loss.temperature, **kept)


def micro(packer, rows):
    """{kind of input: rows of a micro-batch}, None for all at once."""
    kinds = {"query": 1, "document": packer.documents}
    kinds |= {"prompt": 1} if packer.prompt_length else {}
    return {kind: rows * n for kind, n in kinds.items()} if rows else None


def specs(loss):
    """model -> the tree that is trained: the model's, and the steps of int8 that a loss learns."""

    def of(model):
        tree = forms.specs(model)
        if "int8" not in loss.formats:
            return tree
        widths = loss.dims or (model.D,)
        return tree | {"steps": {str(m): Spec((), (), "zeros") for m in widths}}

    return of


def steps(log_steps):
    """LSQ's steps by width from what is trained, which begins at 0: {str(m): s}.

        s = s₀ exp(θ),   s₀ = 2 E|v| / √Q_P,   E|v| = √(2 / (π m))

    s₀ is LSQ's own first step (arXiv:1902.08153) for a vector of length 1 in a random direction of
    m dimensions, so that none need be embedded before the first update; our choice, and so is θ.
    """
    first = lambda m: 2 * math.sqrt(2 / (math.pi * int(m))) / math.sqrt(127)
    return {m: first(m) * jnp.exp(x) for m, x in log_steps.items()}


def check_sizes(c, documents):
    """Refuses numbers of updates and rows that cannot be. documents: of a row, the fewest."""
    for key, value, least in (
        ("steps", c.steps, 1),
        ("data.batch", c.data.batch, 1),
        ("data.documents", c.data.documents, documents),
        ("learner.micro", c.learner.micro, 0),
    ):
        if value < least:
            raise ValueError(f"{key}={value}: give at least {least}")
    if c.learner.micro and c.data.batch % c.learner.micro:
        raise ValueError(
            f"learner.micro={c.learner.micro}: give a divisor of data.batch={c.data.batch}, or 0"
        )


def _check_targets(c, loss, examples):
    if loss.name not in IN_ORDER:
        return
    bare = sum(not x.target for x in examples)
    if bare:
        raise ValueError(
            f"data.path={c.data.path!r}: {bare} of {len(examples)} rows have no scores and no "
            f"ranking, which loss.name={loss.name!r} learns from: add them, or leave those rows out"
        )
