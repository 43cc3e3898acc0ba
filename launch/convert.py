"""Writes a model as a Hugging Face directory.

    python -m launch.convert --checkpoint=runs/quickstart --to=hf --out=DIR

The checkpoint is a Hugging Face directory, a .gguf file, "package:NAME/FILE.gguf", or a run
directory, whose newest saved parameters are taken.
"""

import jax.numpy as jnp
from absl import app, flags, logging

from jaxrl.models import checkpoints, decoder, spec
from jaxrl.training import runs

CHECKPOINT = flags.DEFINE_string("checkpoint", None, "What to convert.", required=True)
TO = flags.DEFINE_enum("to", "hf", ["hf"], "Form to write.")
OUT = flags.DEFINE_string("out", None, "Directory to write; must not exist yet.", required=True)
DTYPES = ["float32", "bfloat16", "float16"]
DTYPE = flags.DEFINE_enum("dtype", "float32", DTYPES, "Dtype of the tensors.")


def main(argv):
    """Reads the checkpoint, writes the directory, says where it is."""
    if argv[1:]:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: see --help")
    logging.set_verbosity(logging.ERROR)  # Orbax warns of what is meant: it may only read
    c, params, tokenizer = runs.open_model(CHECKPOINT.value)
    checkpoints.save(params, c, tokenizer, OUT.value, dtype=jnp.dtype(DTYPE.value))
    print(f"{OUT.value}: {spec.count(decoder.specs(c)):,} parameters in {DTYPE.value}")


if __name__ == "__main__":
    app.run(main)
