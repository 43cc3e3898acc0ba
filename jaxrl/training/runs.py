"""Models by name, for launchers: a checkpoint of any form, or the directory of a run."""

from pathlib import Path

from jaxrl.models import checkpoints, decoder, hf_files, spec
from jaxrl.training import checkpoint


def open_model(name):
    """A checkpoint or a run directory -> (decoder.Config, parameters, tokenizer).

    name: as in `checkpoints.source`, or a run directory: its newest saved parameters.
    """
    path = checkpoints.source(name)
    if not is_run(path):
        base = checkpoints.cached_hf(path)
        c = checkpoints.config(base)
        return c, checkpoints.load(base, c), checkpoints.tokenizer(base, c)
    base = checkpoints.cached_hf(checkpoints.source(settings(path)["model"]["checkpoint"]))
    c = checkpoints.config(base)
    params, _ = checkpoint.load_params(path, spec.abstract(decoder.specs(c)))
    return c, params, checkpoints.tokenizer(base, c)


def is_run(path):
    """True for a directory that a training run writes to."""
    return (Path(path) / "checkpoints").is_dir()


def settings(run_dir):
    """The resolved config that the run was made with."""
    return hf_files.read_json(Path(run_dir) / "config.json")
