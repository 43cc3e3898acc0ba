"""Model merging: one embedder from several that were trained from the same base.

    family = merge.opened("base", ["stage2", "stage3"])
    params = merge.slerped(family, 0.5)
    coefficients, before, after = merge.positions(family, probe, merge.MergeConfig())
    params = merge.moved(family, coefficients)

Stage 3' of Qwen3-VL-Embedding (arXiv:2601.04720), which names Li et al. 2024 and gives neither
coefficients nor data; the text models before it were merged by slerp (arXiv:2506.05176). Left out
on purpose: merging that drops or trims entries, and tensors on several devices. All models are held
in f32 at once.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrl.data.tokenizers import Tokenizer
from jaxrl.models import (
    checkpoints,
    embedder,
    embedder_files,
    forms,
    lora,
    peft_files,
    spec,
)
from jaxrl.ops import merging
from jaxrl.recipes import merge_probe

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # of a sweep
RELATED = 0.1  # cosine of two tensors; of unrelated ones it is near 0


@dataclasses.dataclass(frozen=True)
class MergeConfig:
    """How coefficients are searched: not given in the papers; our choice."""

    steps: int = 100
    size: int = 32  # rows of the probe a step: each other's negatives
    lr: float = 0.02  # of Adam, on the coefficients
    seed: int = 0

    def __post_init__(self):
        for key, least in (("steps", 1), ("size", 2)):
            if getattr(self, key) < least:
                raise ValueError(f"{key}={getattr(self, key)}: give at least {least}")
        if not self.lr > 0:
            raise ValueError(f"lr={self.lr}: give a number above 0")


class Family(NamedTuple):
    """Models of one architecture, as dense parameters."""

    c: embedder.Config
    tokenizer: Tokenizer
    base: dict
    models: list[dict]


class Found(NamedTuple):
    """Where in the space of task vectors the search has ended."""

    coefficients: list[float]
    before: float  # the loss of the whole probe where all coefficients are 1 / their number
    after: float


def opened(base, models):
    """The Family of directories, read. models: of whole embedders, or of peft adapters of the base.

    What is merged is an embedder like the first whole model, or like the base. Refused by name is a
    tensor of another shape, or one that cannot come from this base: its cosine with it is below
    0.1, where training moves a matrix little (our choice).
    """
    if len(models) < 2:
        raise ValueError(f"models={models}: give at least two")
    paths = [checkpoints.source(name) for name in (base, *models)]
    if _is_adapter(paths[0]):
        raise ValueError(f"base={base!r} is an adapter: give the model that it was trained on")
    whole = [path for path in paths[1:] if not _is_adapter(path)]
    c, tokenizer = embedder_files.open_embedder((whole + paths)[0])
    for path in (paths[0], *whole):
        other, words = embedder_files.open_embedder(path)
        _refuse_another(c, tokenizer, path, other, words)
        if path in whole:
            _refuse_other_pooling(c, path, other)
    first = checkpoints.load(paths[0], c.model)
    found = [_loaded(path, first, c.model) for path in paths[1:]]
    for path, params in zip(paths[1:], found, strict=True):
        _refuse_unrelated(params, first, c.model, path)
    return Family(c, tokenizer, first, found)


def slerped(family, t):
    """The point at share t of the arc between two models: ops.merging.slerp of each stored tensor.

    So each layer, and each expert, has an arc of its own.
    """
    if len(family.models) != 2:
        raise ValueError(f"slerp goes between two models, not {len(family.models)}: give two")
    return _slerped(*family.models, t, model=family.c.model)


@functools.partial(jax.jit, static_argnames="model")
def _slerped(a, b, t, *, model):
    lead = lambda s: sum(axis in ("layers", "expert") for axis in s.axes)
    point = lambda s, x, y: merging.slerp(x, y, t, lead=lead(s))
    return jax.tree.map(point, forms.specs(model), a, b, is_leaf=spec.is_spec)


def sweep(family, probe, shares=SHARES):
    """({t: score of the probe}, the best t) of slerp; of equal scores the one nearest to 1/2."""
    scores = {t: merge_probe.score(slerped(family, t), probe, family.c) for t in shares}
    return scores, max(scores, key=lambda t: (scores[t], -abs(t - 0.5)))


def moved(family, coefficients):
    """θ₀ + Σ_i a_i (θ_i − θ₀): ops.merging.interpolated."""
    return jax.jit(merging.interpolated)(family.base, family.models, jnp.asarray(coefficients))


def positions(family, probe, how):
    """Found: the a_i of `moved` that Adam finds on a contrastive loss of the probe.

        a ← a − η ∂L(θ₀ + Σ_i a_i (θ_i − θ₀))/∂a

    After Self Positioning, Li et al. 2024, arXiv:2410.15035: SGD in the interpolation space of task
    vectors. Of that paper we follow the abstract; Adam, the start at the mean of the models, free
    signs and sums of the a_i, and InfoNCE at 0.03 on `size` rows drawn anew each step are our
    choice. The gradient is with respect to the coefficients alone, but takes the memory of one with
    respect to all parameters.
    """
    N, M, tx = len(probe.id_NK), len(family.models), optax.adam(how.lr)
    size = min(how.size, N)
    if size < 2:
        raise ValueError(f"the probe has {N} query: give at least 2, each other's negatives")

    def mean(a, row_n, weight_n, base, models, probe):
        params = merging.interpolated(base, models, a)
        total, weight = merge_probe.loss(params, probe, row_n, weight_n, family.c)
        return total / weight

    rest = family.base, family.models, probe
    slope, value = jax.jit(jax.grad(mean)), jax.jit(mean)
    whole = lambda a: _mean_of_parts(lambda *rows: value(a, *rows, *rest), N, size)
    coefficients = jnp.full(M, 1 / M)
    before, state, ones = whole(coefficients), tx.init(coefficients), np.ones(size, np.float32)
    for step in range(how.steps):
        row_n = np.random.default_rng((how.seed, step)).choice(N, size, replace=False)
        change, state = tx.update(slope(coefficients, row_n, ones, *rest), state)
        coefficients = optax.apply_updates(coefficients, change)
    return Found([float(a) for a in coefficients], before, whole(coefficients))


def _mean_of_parts(value, N, size):
    """The mean of value(rows, weights) over parts of at most `size` rows, by their rows."""
    total = 0.0
    for start in range(0, N, size):
        row_n = np.arange(start, start + size)
        there_n = row_n < N
        total += float(value(row_n % N, there_n.astype(np.float32))) * there_n.sum()
    return total / N


def _is_adapter(path):
    return (path / peft_files.CONFIG).is_file()


def _loaded(path, base, model):
    if not _is_adapter(path):
        return checkpoints.load(path, model)
    adapters, how = peft_files.load(path, model)
    return jax.jit(lora.merged, static_argnums=2)(base, adapters, how)  # A B, not the factors


def _refuse_another(c, tokenizer, path, other, words):
    ours, theirs = _shapes(c.model), _shapes(other.model)
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours or name not in theirs or ours[name] != theirs[name]:
            has, need = ((x[name] if name in x else "missing") for x in (theirs, ours))
            raise ValueError(
                f"{path}: the tensor {name} is {has}, in the other models {need}: only models of "
                "one architecture and size can be merged"
            )
    if other.model != c.model:
        ours, theirs = vars(c.model), vars(other.model)
        wrong = {key: (theirs[key], ours[key]) for key in ours if ours[key] != theirs[key]}
        raise ValueError(f"{path} differs from the other models in its config, {wrong}")
    if words.core.get_vocab() != tokenizer.core.get_vocab():
        raise ValueError(f"{path} has another vocabulary than the other models: they share no base")


def _refuse_other_pooling(c, path, other):
    for key in ("pooling", "normalize"):
        ours, theirs = getattr(c, key), getattr(other, key)
        if ours != theirs:
            raise ValueError(f"{path}: {key}={theirs!r}, but one has {ours!r}: make them equal")


def _shapes(model):
    """{Hugging Face name, * for layers and experts: shape}."""
    names, found = forms.FORMS[type(model)].names, {}
    tree = jax.tree_util.tree_leaves_with_path(forms.specs(model), is_leaf=spec.is_spec)
    for keys, s in tree:
        found[names[tuple(key.key for key in keys)][0].replace("{}", "*")] = s.shape
    return found


def _refuse_unrelated(params, base, model, path):
    pairs = jax.jit(lambda a, b: jax.tree.map(merging.cosine, a, b))(params, base)
    names = forms.FORMS[type(model)].names
    specs = jax.tree.leaves(forms.specs(model), is_leaf=spec.is_spec)
    for (keys, value), s in zip(jax.tree_util.tree_leaves_with_path(pairs), specs, strict=True):
        if s.init in ("normal", "embed") and value < RELATED:
            name = names[tuple(key.key for key in keys)][0].replace("{}", "*")
            raise ValueError(
                f"{path}: the tensor {name} has cosine {value:.2f} with the base's: the model was "
                "not trained from this base; give the one it was"
            )
