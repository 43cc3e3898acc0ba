"""Merges embedders that were trained from one base, and writes the result.

    python -m launch.merge --base=DIR --models=DIR,DIR --out=DIR --how=slerp --t=0.5
    python -m launch.merge --base=DIR --models=DIR,DIR --out=DIR --how=slerp --probe=FILE
    python -m launch.merge --base=DIR --models=DIR,DIR --out=DIR --how=positions --probe=FILE

A model is an embedder's directory or that of a peft adapter of the base. A probe holds rows that no
model was trained on, {"query", "positives", "negatives"} a line: with it slerp tries shares from 0
to 1 and keeps the best, and positions searches a coefficient for each model (recipes/merge.py).
"""

import sys

import jax.numpy as jnp
from absl import app, flags

from jaxrl.models import embedder_files
from jaxrl.recipes import merge, merge_probe

DEFAULT = merge.MergeConfig()
BASE = flags.DEFINE_string("base", None, "What the models were trained from.", required=True)
MODELS = flags.DEFINE_list("models", None, "What is merged, with commas between.", required=True)
OUT = flags.DEFINE_string("out", None, "Directory to write; must not exist yet.", required=True)
HOW = flags.DEFINE_enum("how", "slerp", ["slerp", "positions"], "How they are merged.")
T = flags.DEFINE_float("t", None, "Of slerp: 0 is the first model, 1 the second.", 0, 1)
PROBE = flags.DEFINE_string("probe", None, "A file of rows that the result is chosen by.")
STEPS = flags.DEFINE_integer("steps", DEFAULT.steps, "Of the search for positions.")
SIZE = flags.DEFINE_integer("size", DEFAULT.size, "Rows of the probe a step.")
LR = flags.DEFINE_float("lr", DEFAULT.lr, "Of the search for positions.")
SEED = flags.DEFINE_integer("seed", DEFAULT.seed, "Of the rows drawn.")
DTYPES = ["float32", "bfloat16", "float16"]
DTYPE = flags.DEFINE_enum("dtype", "float32", DTYPES, "Dtype of the tensors.")


def main(argv):
    """Refuses in one line what cannot work; merges, says by which numbers, writes."""
    try:
        if argv[1:]:
            raise ValueError(f"unexpected argument {argv[1]!r}: see --help")
        _check()
        how = merge.MergeConfig(STEPS.value, SIZE.value, LR.value, SEED.value)
        family = merge.opened(BASE.value, MODELS.value)
        params = (_slerp if HOW.value == "slerp" else _positions)(family, how)
        dtype = jnp.dtype(DTYPE.value)
        embedder_files.save(params, family.c, family.tokenizer, OUT.value, dtype=dtype)
    except (ValueError, OSError) as error:
        sys.exit(f"launch.merge: {error}")
    print(f"{OUT.value}: written")


def _check():
    if HOW.value == "positions" and (T.value is not None or PROBE.value is None):
        raise ValueError("--how=positions finds its coefficients: give --probe, and no --t")
    if HOW.value == "slerp" and (T.value is None) == (PROBE.value is None):
        raise ValueError("--how=slerp: give either --t or, to try several, --probe")


def _probe(family):
    return merge_probe.read(PROBE.value, family.c, family.tokenizer)


def _slerp(family, how):
    t = T.value
    if t is None:
        scores, t = merge.sweep(family, _probe(family))
        for share, score in scores.items():
            print(f"t = {share}: nDCG@{merge_probe.PLACES} {score:.4f}")
    print(f"slerp at t = {t}")
    return merge.slerped(family, t)


def _positions(family, how):
    found = merge.positions(family, _probe(family), how)
    print(f"loss of the probe: {found.before:.4f} at their mean, {found.after:.4f} at")
    for name, a in zip(MODELS.value, found.coefficients, strict=True):
        print(f"{name}: {a:.4f}")
    return merge.moved(family, found.coefficients)


if __name__ == "__main__":
    app.run(main)
