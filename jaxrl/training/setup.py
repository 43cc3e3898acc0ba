"""What every recipe does first: model, mesh, optimizer, the state a run starts or resumes from."""

import dataclasses
import functools
import json
import logging
import math
import os
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding

from jaxrl.data.tokenizers import Tokenizer
from jaxrl.models import (
    checkpoints,
    decoder,
    encoder,
    forms,
    frozen,
    lora,
    peft_files,
    qwen3_vl,
    spec,
)
from jaxrl.parallel import hosts, mesh, rules
from jaxrl.training import adapters, optimizer, step

log = logging.getLogger(__name__)
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
WORDLESS = {
    encoder.Config: "it is an encoder, which has no output head",
    qwen3_vl.Config: "it is a vision-language model, which embeds and ranks but does not write",
}


@dataclasses.dataclass(frozen=True)
class Base:
    """A base model ready to train: nothing here changes during the run."""

    path: Path  # Hugging Face directory
    model: Any  # the config: of a type in forms.FORMS
    tokenizer: Tokenizer
    mesh: Mesh
    abstract: dict  # what is trained as shapes with shardings: all parameters, or adapters
    optimizer: optimizer.OptimizerConfig
    tx: optax.GradientTransformation
    how: dict[str, Any]  # dtype and remat of the learner's forward pass
    seed: int = 0
    router_loss: float = 0.0  # weight of the balance of experts
    adapters: lora.LoraConfig = dataclasses.field(default_factory=lora.LoraConfig)
    precision: str = "float32"  # of a frozen base

    def load(self):
        """What is trained as it starts, straight to its shardings; heads are zeros."""
        shardings = jax.tree.map(lambda x: x.sharding, self.abstract)
        if self.adapters.rank:
            params = self._first_adapters({"layers": shardings["layers"]})
        else:
            stored = forms.specs(self.model).keys()
            dtype = self.abstract["embed"].dtype
            places = {k: shardings[k] for k in stored}
            params = checkpoints.load(self.path, self.model, places, dtype)
        zero = lambda x: jax.device_put(jnp.zeros(x.shape, x.dtype), x.sharding)
        heads = {k: x for k, x in self.abstract.items() if k not in params}
        return params | jax.tree.map(zero, heads)

    def _first_adapters(self, shardings):
        dtype = jax.tree.leaves(self.abstract["layers"])[0].dtype
        if self.adapters.adapter:
            found, _ = peft_files.load(self.adapters.adapter, self.model)
            found = jax.tree.map(lambda x: x.astype(dtype), found)
            return jax.device_put(found, shardings)
        key = jax.random.fold_in(jax.random.key(self.seed), zlib.crc32(b"adapters"))
        draw = functools.partial(spec.init, lora.specs(self.model, self.adapters), dtype=dtype)
        return jax.jit(draw, out_shardings=shardings)(key)

    def load_frozen(self):
        """The base under adapters, at its precision; None where all parameters are trained."""
        if not self.adapters.rank:
            return None
        return frozen.load(self.path, self.model, self.places(), self.precision)

    def reference(self, base):
        """The policy that a KL or preference loss compares with: the model without adapters."""
        return base if self.adapters.rank else self.load()

    def join(self, params, base):
        """The parameters that a forward pass takes. base: from `load_frozen`. Computes nothing."""
        return lora.attached(base, params, self.adapters) if self.adapters.rank else params

    def policy(self):
        """The parameters that a sampler takes, as shapes, and a compiled (params, base) -> them.

        Adapters are merged into a copy of the base, in the type that is sampled with.
        """
        if not self.adapters.rank:
            return self.abstract, lambda params, base: params
        merge = functools.partial(lora.merged, c=self.adapters, dtype=self.how["dtype"])
        places, tree = self.places(), forms.specs(self.model)
        shapes = spec.abstract(tree, self.how["dtype"], places)
        swap = lambda params, base: merge(base, params)
        return shapes, jax.jit(swap, out_shardings=places)

    def train_step(self, loss_fn, objective):
        """`step.make_train_step` of this base; objective: that of loss_fn."""
        balance = step.make_balance(objective, self.model, self.router_loss, **self.how)
        rest = {"join": self.join, "seed": self.seed, "balance": balance}
        return step.make_train_step(loss_fn, self.tx, self.shardings(), **rest)

    def places(self):
        """The shardings of a whole model's parameters."""
        return rules.shardings(forms.specs(self.model), self.mesh, rules.TRAIN)

    def abstract_sampler(self):
        """The parameters as the sampler wants them: its sharding, and the dtype it computes in."""
        tree = forms.specs(self.model)
        where = rules.shardings(tree, self.mesh, rules.SAMPLE)
        return spec.abstract(tree, self.how["dtype"], where)

    def abstract_state(self):
        """The TrainState as shapes with shardings."""
        return optimizer.abstract_state(self.tx, self.abstract)

    def shardings(self):
        """The shardings of the TrainState."""
        return jax.tree.map(lambda x: x.sharding, self.abstract_state())

    def share(self, n):
        """Which of n rows of a batch this process holds."""
        return hosts.share(self._split(1), n)

    def part(self, items):
        """Those of a batch's items that this process packs into rows: by turns."""
        ways = math.prod(self.mesh.shape[name] for name in rules.names(rules.TRAIN["batch"]))
        mine = set(self.share(ways).mine.tolist())
        return [x for i, x in enumerate(items) if i % ways in mine]

    def room(self, rows, micro):
        """How many of a batch's `rows`, a multiple of micro, this process fills."""
        return rows // micro * len(self.share(micro).mine)

    def place_rows(self, x, axis=0):
        """A host array on the mesh: `axis` is the batch or this process's part, then columns."""
        return hosts.spread(x, self._split(x.ndim, axis))

    def place_micro(self, rows, used, micro):
        """This process's Rows [N, ..] -> (Rows [C, micro, ..], each micro-batch split over the
        mesh; how many of the C any process uses, of whose rows `used` hold something)."""
        mine = len(self.share(micro).mine)
        split = lambda x: self.place_rows(x.reshape(-1, mine, x.shape[-1]), axis=1)
        return jax.tree.map(split, rows), hosts.largest(-(-used // mine))

    def _split(self, ndim, axis=0):
        names = [None] * axis + ["batch"] + ["time"] * (ndim - axis - 1)
        return NamedSharding(self.mesh, rules.spec(rules.TRAIN, *names))


def language_model(model):
    """The config of a decoder as it is; refuses one of a model that writes no text."""
    if isinstance(model, decoder.Config):
        return model
    raise ValueError(
        f"{WORDLESS[type(model)]}, and this recipe trains a model that writes: give a decoder of "
        "text alone, such as Qwen3 or Llama, or train this one as an embedder"
    )


def open_base(c, rows, updates, *, take=language_model, specs=forms.specs):
    """Reads names and shapes, no weights; refuses what cannot run. rows: see mesh.check.

    take: the checkpoint's config -> the config that is trained; a ValueError of it refuses the
    checkpoint. specs: of that config; what they hold beyond forms.specs starts at zero.
    """
    if c.model.dtype not in DTYPES:
        raise ValueError(f"model.dtype={c.model.dtype!r}: give one of {', '.join(DTYPES)}")
    if c.model.remat not in decoder.REMAT:
        raise ValueError(f"model.remat={c.model.remat!r}: give one of {', '.join(decoder.REMAT)}")
    if c.model.params not in DTYPES:
        raise ValueError(f"model.params={c.model.params!r}: give one of {', '.join(DTYPES)}")
    small = adapters.settings(c)
    tuning = optimizer.OptimizerConfig(**c.optimizer, steps=updates)
    path, model, tokenizer = _open_checkpoint(c, take)
    _check_router_loss(c.model.router_loss, model)
    devices = mesh.make(**c.mesh)
    tree = specs(model)
    mesh.check(devices, tree, rows=rows)
    if small.rank:
        adapters.check(small, model)
        heads = {k: s for k, s in tree.items() if k not in forms.specs(model)}
        tree = lora.specs(model, small) | heads
    places = rules.shardings(tree, devices, rules.TRAIN)
    abstract = spec.abstract(tree, DTYPES[c.model.params], places)
    how = {"dtype": DTYPES[c.model.dtype], "remat": c.model.remat}
    rest = {"seed": c.seed, "adapters": small, "precision": c.model.base}
    rest |= {"router_loss": c.model.router_loss}
    tx = optimizer.build(tuning)
    return Base(path, model, tokenizer, devices, abstract, tuning, tx, how, **rest)


def _check_router_loss(value, model):
    if not 0 <= value < math.inf:
        raise ValueError(f"model.router_loss={value}: give 0 (off) or more")
    if value and not (isinstance(model, decoder.Config) and model.E):
        raise ValueError(
            f"model.router_loss={value}: the model of model.checkpoint has no experts to balance; "
            "set it to 0"
        )


def _open_checkpoint(c, take):
    """(directory, model, tokenizer); every refusal starts with the key and its value."""
    name = c.model.checkpoint
    if not name:
        raise ValueError(
            "model.checkpoint is empty: give a Hugging Face directory, a .gguf file or "
            "package:NAME/FILE.gguf"
        )
    try:
        path = checkpoints.cached_hf(checkpoints.source(name, c.model.sha256 or None))
        model = take(checkpoints.config(path))
        checkpoints.check(path, model)
        return path, model, checkpoints.tokenizer(path, model)
    except (FileNotFoundError, ValueError) as error:
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(f"model.checkpoint={name!r}: {error}") from error


def start_or_resume(base, saver):
    """(TrainState, host dict of the checkpoint or None)."""
    if saver.latest() is None:
        make = jax.jit(
            lambda params: optimizer.init_state(base.tx, params),
            donate_argnums=0,
            out_shardings=base.shardings(),
        )
        return make(base.load()), None
    state, host = saver.restore(base.abstract_state())
    log.info("resuming after %d updates", int(state.step))
    return state, host


def write_config(c, run_dir):
    """run_dir/config.json. A run that exists must have been made with the same settings.

    Only `steps`, the mesh, and the cadence of saving, logging and evaluating may change on a
    resume. Another mesh rounds otherwise: the run goes on, but not bit for bit as it would have.
    """
    path = Path(run_dir) / "config.json"
    new = json.loads(c.to_json())
    hosts.agree(json.dumps(new, sort_keys=True), "--config, with all that is set in it,")
    exists = path.exists()
    if exists:
        old = json.loads(path.read_text())
        changed = [
            k for k in sorted(_flat(old) | _flat(new)) if _flat(old).get(k) != _flat(new).get(k)
        ]
        free = ("steps", "mesh.", "checkpoint.", "log.", "eval.every")
        bare = lambda key: key.removeprefix("sft.").removeprefix("rl.")  # of stages
        wrong = [k for k in changed if not bare(k).startswith(free)]
        if wrong:
            pairs = ", ".join(f"{k}: {_flat(old).get(k)} → {_flat(new).get(k)}" for k in wrong)
            raise ValueError(
                f"--workdir={run_dir} holds a run with other settings ({pairs}): give another "
                "--workdir, or restore the settings to resume"
            )
    hosts.meet()  # all have read it
    if hosts.first():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name("config.json.partial")
        partial.write_text(json.dumps(new, indent=2) + "\n")
        os.replace(partial, path)  # a kill, or a full disk, leaves the old one whole
    hosts.meet()
    hosts.agree(
        f"{exists} {path.exists()}",
        f"whether --workdir={run_dir} holds a run (on storage of their own?)",
    )


def _flat(tree, prefix=""):
    if not isinstance(tree, dict):
        return {prefix[:-1]: tree}
    return {k: v for name, x in tree.items() for k, v in _flat(x, f"{prefix}{name}.").items()}
