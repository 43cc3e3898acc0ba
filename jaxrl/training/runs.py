"""Models by name, for launchers: a checkpoint of any form, or the directory of a run."""

from pathlib import Path

import jax
from jax.sharding import SingleDeviceSharding

from jaxrl.models import checkpoints, forms, frozen, hf_files, lora, spec
from jaxrl.training import checkpoint


def open_model(name):
    """A checkpoint or a run directory -> (its config, parameters, tokenizer).

    name: as in `checkpoints.source`, or a run directory: its newest saved parameters. Adapters are
    merged into the base as the run held it, so that this is the model that was trained.
    """
    path = checkpoints.source(name)
    if not is_run(path):
        base = checkpoints.cached_hf(path)
        c = checkpoints.config(base)
        return c, checkpoints.load(base, c), checkpoints.tokenizer(base, c)
    base, c, adapters = _base(path)
    if not adapters.rank:
        params = _trained(path, forms.specs(c))
        return c, params, checkpoints.tokenizer(base, c)
    here = SingleDeviceSharding(jax.devices()[0])
    places = jax.tree.map(lambda _: here, forms.specs(c), is_leaf=spec.is_spec)
    still = frozen.load(base, c, places, settings(path)["model"]["base"])
    trained = _trained(path, lora.specs(c, adapters))
    merge = jax.jit(lora.merged, static_argnums=2)  # eagerly, a program a parameter
    return c, merge(still, trained, adapters), checkpoints.tokenizer(base, c)


def open_adapters(run_dir):
    """A run of adapters -> (base model's directory, decoder.Config, adapters, LoraConfig)."""
    rank = settings(run_dir)["model"]["lora"]["rank"] if is_run(run_dir) else 0
    if not rank:
        raise ValueError(
            f"{run_dir} holds no adapters: give the directory of a run that was trained with "
            "model.lora.rank above 0, or write the whole model"
        )
    base, c, adapters = _base(run_dir)
    return base, c, _trained(run_dir, lora.specs(c, adapters)), adapters


def is_run(path):
    """True for a directory that a training run writes to."""
    return (Path(path) / "checkpoints").is_dir()


def settings(run_dir):
    """The resolved config that the run was made with."""
    return hf_files.read_json(Path(run_dir) / "config.json")


def _base(run_dir):
    """(directory of the model the run began with, its decoder.Config, the run's LoraConfig)."""
    model = settings(run_dir)["model"]
    base = checkpoints.cached_hf(checkpoints.source(model["checkpoint"]))
    adapters = model["lora"] | {"targets": tuple(model["lora"]["targets"])}
    return base, checkpoints.config(base), lora.LoraConfig(**adapters)


def _trained(run_dir, specs):
    dtype = settings(run_dir)["model"]["params"]
    return checkpoint.load_params(run_dir, spec.abstract(specs, dtype))[0]
