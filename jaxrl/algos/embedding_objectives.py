"""Objectives of embedders by name, all of one signature:

    (sum, stats) = CONTRASTIVE[c.name](e, labels, target_NK, c, split)

e: unit vectors, {"query": [N, D], "document": [N, K, D]}; e2rank has "prompt": [N, D] beside them.
labels: `contrastive_losses.Labels`. target_NK, higher = better: a teacher's logits, grades, −rank;
of cosent the gold similarity of a row's two texts in the first column; zeros where it has no use.
split: the mesh axes of the rows. A sum is of the whole batch, which in-batch negatives need anyway
(`training/grad_cache.py` is for batches larger than memory). `evaluate` adds prefixes and few bits.
A reranker's loss reads logits and not vectors: `contrastive_losses.yes_no_nll`.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from jaxrl.algos import options
from jaxrl.ops import contrastive_losses, ranking_losses
from jaxrl.ops.embedding_quantization import FORMATS, initial_step, quantization_aware
from jaxrl.ops.embeddings import matryoshka, normalize, own_cosines, truncate
from jaxrl.ops.global_batch import over_devices


def info_nce(e, labels, target_NK, c, split):
    """`contrastive_losses.info_nce`: Qwen3-VL-Embedding, arXiv:2601.04720; with margin=inf E2Rank's
    first stage, arXiv:2510.22733."""
    knobs = _knobs(c, "temperature", "margin", "others_negatives")
    knobs |= _knobs(c, "query_query", "document_document")
    rows = e["query"], e["document"], labels
    return over_devices(contrastive_losses.info_nce, rows, split, **knobs)


def symmetric_info_nce(e, labels, target_NK, c, split):
    """`contrastive_losses.symmetric_info_nce`: GVE, arXiv:2510.27571."""
    knobs = _knobs(c, "temperature", "margin", "others_negatives")
    rows = e["query"], e["document"], labels
    return over_devices(contrastive_losses.symmetric_info_nce, rows, split, **knobs)


def cosent(e, labels, target_NK, c, split):
    """`contrastive_losses.cosent` of each query and its first document."""
    cosine_N, there_N = _cosines(e["query"], e, labels)[:, 0], _there(labels)[:, 0]
    knobs = _knobs(c, "temperature")
    return contrastive_losses.cosent(cosine_N, target_NK[:, 0], there_N, **knobs)


def distillation(e, labels, target_NK, c, split):
    """`contrastive_losses.distillation` of a reranker's logits."""
    knobs = _knobs(c, "temperature", "teacher_temperature")
    known = target_NK, _there(labels)
    return contrastive_losses.distillation(e["query"], e["document"], *known, **knobs)


def margin_mse(e, labels, target_NK, c, split):
    """`ranking_losses.margin_mse` of a teacher's scores, arXiv:2010.02666."""
    cosine_NK = _cosines(e["query"], e, labels)
    return ranking_losses.margin_mse(cosine_NK, target_NK, _there(labels))


def list_mle(e, labels, target_NK, c, split):
    """`ranking_losses.list_mle` of a row's own documents."""
    known = _cosines(e["query"], e, labels), target_NK, _there(labels)
    return ranking_losses.list_mle(*known, **_knobs(c, "temperature"))


def lambda_loss(e, labels, target_NK, c, split):
    """`ranking_losses.lambda_loss` of a row's own documents; target_NK holds grades ≥ 0."""
    known = _cosines(e["query"], e, labels), target_NK, _there(labels)
    return ranking_losses.lambda_loss(*known, **_knobs(c, "temperature", "mu"))


def e2rank(e, labels, target_NK, c, split):
    """E2Rank's second stage: documents for the query, their order for the listwise prompt.

        InfoNCE (a mean over rows) + λ RankNet(cos(ê_q, e_d)) (a mean over pairs)

    arXiv:2510.22733, λ = 2. The positive, the first document, is the labeller's best there, not
    the dataset's; target_NK holds −rank. listwise=False ranks by the query itself, the paper's
    ablation.
    """
    total, stats = info_nce(e, labels, target_NK, c, split)
    asked_ND = e["prompt" if c.listwise else "query"]
    known = _cosines(asked_ND, e, labels), target_NK, _there(labels)
    order, of_pairs = ranking_losses.rank_net(*known, temperature=c.rank_temperature)
    rows_a_pair = stats["weight"] / jnp.maximum(of_pairs["weight"], 1)  # both are means in the end
    stats |= {"rank_net": order * rows_a_pair, "rank_accuracy": of_pairs["accuracy"] * rows_a_pair}
    return total + c.rank_weight * stats["rank_net"], stats


def evaluate(steps, e, labels, target_NK, c, *, split=None):
    """The objective on vectors, prefixes and few bits, as c has it: (sum, stats).

    steps: {str(width): []}, of int8, a step for each of c.dims; e: vectors of any length.
    """
    one = lambda e: CONTRASTIVE[c.name](e, labels, target_NK, c, split)
    e = jax.tree.map(normalize, e)

    def bits(e):
        step = steps[str(e["query"].shape[-1])] if "int8" in c.formats else None
        return quantization_aware(one, e, step, formats=c.formats, weight=c.quantized_weight)

    loss = bits if c.formats else one
    return matryoshka(loss, e, dims=c.dims, weights=c.dim_weights) if c.dims else loss(e)


def initial_steps(document_XD, c):
    """The first `steps` of `evaluate`, from vectors of documents."""
    widths = c.dims or (document_XD.shape[-1],)
    steps = {str(m): initial_step(truncate(document_XD, m)) for m in widths}
    return steps if "int8" in c.formats else {}


CONTRASTIVE = {
    "info_nce": info_nce,
    "symmetric_info_nce": symmetric_info_nce,
    "cosent": cosent,
    "distillation": distillation,
    "margin_mse": margin_mse,
    "list_mle": list_mle,
    "lambda_loss": lambda_loss,
    "e2rank": e2rank,
}
# 0.03 is E2Rank's and GVE's temperature; Qwen3-VL-Embedding gives none, nor do papers on scores
# that are no cosines: there it is our choice.
_TAU = {"temperature": 0.03}
_TERMS = {"others_negatives": True, "query_query": False, "document_document": False}
OPTIONS = {  # the keys each objective takes, with their defaults
    "info_nce": _TAU | _TERMS | {"margin": 0.1},
    "symmetric_info_nce": _TAU | {"margin": math.inf, "others_negatives": False},
    "cosent": _TAU,
    "distillation": _TAU | {"teacher_temperature": 1.0},
    "margin_mse": {},
    "list_mle": _TAU,
    "lambda_loss": _TAU | {"mu": 0.0},
    "e2rank": _TAU
    | _TERMS
    | {"margin": math.inf, "rank_weight": 2.0, "rank_temperature": 0.1, "listwise": True},
}
_CHECKS = {  # what a number must be
    "temperature": (lambda x: 0 < x < math.inf, "a number above 0"),
    "teacher_temperature": (lambda x: 0 < x < math.inf, "a number above 0"),
    "rank_temperature": (lambda x: 0 < x < math.inf, "a number above 0"),
    "rank_weight": (lambda x: 0 <= x < math.inf, "a number of 0 or more"),
    "mu": (lambda x: 0 <= x < math.inf, "a number of 0 or more"),
    "margin": (lambda x: x >= 0, "a number of 0 or more, inf for no mask"),
}


@dataclasses.dataclass(frozen=True)
class ContrastiveConfig:
    """The `loss` keys of an embedder's config; what is None becomes the default in OPTIONS."""

    name: str = "info_nce"
    temperature: float | None = None
    margin: float | None = None
    others_negatives: bool | None = None
    query_query: bool | None = None
    document_document: bool | None = None
    teacher_temperature: float | None = None
    mu: float | None = None
    rank_weight: float | None = None
    rank_temperature: float | None = None
    listwise: bool | None = None
    dims: tuple[int, ...] = ()  # prefixes that are to be embeddings, too; () = the whole alone
    dim_weights: tuple[float, ...] | None = None  # None = 1 each
    formats: tuple[str, ...] = ()  # keys of FORMATS in which vectors are to be stored
    quantized_weight: float = 1.0

    def __post_init__(self):
        options.fill(self, OPTIONS, _CHECKS)
        self._compression()

    def _compression(self):
        if len(set(self.dims)) < len(self.dims) or any(m < 1 for m in self.dims):
            raise ValueError(f"loss.dims={self.dims!r}: give widths of 1 or more, each once")
        weights = self.dim_weights
        if weights is not None and len(weights) != len(self.dims):
            raise ValueError(f"loss.dim_weights={weights!r}: give one for each of {self.dims=}")
        if not set(self.formats) <= FORMATS.keys():
            raise ValueError(f"loss.formats={self.formats!r}: give some of {tuple(FORMATS)}")
        if not 0 <= self.quantized_weight < math.inf:
            raise ValueError(
                f"loss.quantized_weight={self.quantized_weight!r}: give a number of 0 or more"
            )


def _knobs(c, *names):
    return {name: getattr(c, name) for name in names}


def _there(labels):
    """The documents of the rows that count, [N, K] bool."""
    return labels.mask_NK & (labels.weight_N > 0)[:, None]


def _cosines(query_ND, e, labels):
    """Cosines with the own documents; zeros, and no gradient, where there is none."""
    there_NK = _there(labels)
    query_ND = jnp.where(there_NK.any(1)[:, None], query_ND, 0)
    return own_cosines(query_ND, jnp.where(there_NK[..., None], e["document"], 0))
