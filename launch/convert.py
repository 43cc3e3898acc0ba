"""Writes a model as a Hugging Face directory, or the adapters of a run as one of peft.

    python -m launch.convert --checkpoint=runs/quickstart --to=hf --out=DIR
    python -m launch.convert --checkpoint=runs/adapters --to=peft --out=DIR

The checkpoint is a Hugging Face directory, a .gguf file, "package:NAME/FILE.gguf", or a run
directory, whose newest saved parameters are taken; adapters are merged into their base for hf.
"""

import jax
import jax.numpy as jnp
from absl import app, flags, logging

from jaxrl.models import checkpoints, lora, peft_files, spec
from jaxrl.training import runs

CHECKPOINT = flags.DEFINE_string("checkpoint", None, "What to convert.", required=True)
TO = flags.DEFINE_enum("to", "hf", ["hf", "peft"], "Form to write.")
OUT = flags.DEFINE_string("out", None, "Directory to write; must not exist yet.", required=True)
DTYPES = ["float32", "bfloat16", "float16"]
DTYPE = flags.DEFINE_enum("dtype", "float32", DTYPES, "Dtype of the tensors.")


def main(argv):
    """Reads the checkpoint, writes the directory, says where it is."""
    if argv[1:]:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: see --help")
    logging.set_verbosity(logging.ERROR)  # Orbax warns of what is meant: it may only read
    count = _write_adapters() if TO.value == "peft" else _write_model()
    print(f"{OUT.value}: {count:,} parameters in {DTYPE.value}")


def _write_model():
    c, params, tokenizer = runs.open_model(CHECKPOINT.value)
    checkpoints.save(params, c, tokenizer, OUT.value, dtype=jnp.dtype(DTYPE.value))
    return sum(x.size for x in jax.tree.leaves(params))


def _write_adapters():
    base, c, found, how = runs.open_adapters(CHECKPOINT.value)
    found = jax.tree.map(lambda x: x.astype(DTYPE.value), found)
    peft_files.save(found, c, how, base, OUT.value)
    return spec.count(lora.specs(c, how))


if __name__ == "__main__":
    app.run(main)
