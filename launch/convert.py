"""Writes a model as a Hugging Face directory.

    python -m launch.convert --checkpoint=runs/quickstart --to=hf --out=DIR

The checkpoint is a Hugging Face directory, a .gguf file, "package:NAME/FILE.gguf", or a run
directory, whose newest saved parameters are taken.
"""

from pathlib import Path

import jax.numpy as jnp
from absl import app, flags

from jaxrl.models import checkpoints, decoder, hf_files, spec
from jaxrl.training import checkpoint as runs

CHECKPOINT = flags.DEFINE_string("checkpoint", None, "What to convert.", required=True)
TO = flags.DEFINE_enum("to", "hf", ["hf"], "Form to write.")
OUT = flags.DEFINE_string("out", None, "Directory to write; must not exist yet.", required=True)
DTYPES = ["float32", "bfloat16", "float16"]
DTYPE = flags.DEFINE_enum("dtype", "float32", DTYPES, "Dtype of the tensors.")


def main(argv):
    """Reads the checkpoint, writes the directory, says where it is."""
    if argv[1:]:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: see --help")
    c, params, tokenizer = open_model(CHECKPOINT.value)
    checkpoints.save(params, c, tokenizer, OUT.value, dtype=jnp.dtype(DTYPE.value))
    print(f"{OUT.value}: {spec.count(decoder.specs(c)):,} parameters in {DTYPE.value}")


def open_model(name):
    """A checkpoint or a run directory -> (decoder.Config, parameters, tokenizer)."""
    path = checkpoints.source(name)
    if not is_run(path):
        base = checkpoints.cached_hf(path)
        c = checkpoints.config(base)
        return c, checkpoints.load(base, c), checkpoints.tokenizer(base, c)
    settings = hf_files.read_json(path / "config.json")["model"]
    base = checkpoints.cached_hf(checkpoints.source(settings["checkpoint"]))
    c = checkpoints.config(base)
    params, _ = runs.load_params(path, spec.abstract(decoder.specs(c)))
    return c, params, checkpoints.tokenizer(base, c)


def is_run(path):
    """True for a directory that a training run writes to."""
    return Path(path).is_dir() and (Path(path) / "checkpoints").is_dir()


if __name__ == "__main__":
    app.run(main)
