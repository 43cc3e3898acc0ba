"""Low-rank adapters (LoRA, arXiv:2106.09685): W + (α / r) A B on chosen matrices of the decoder.

Adapters are a tree of their own, stacked over layers as the decoder's parameters are:

    adapters = spec.init(lora.specs(model, c), key)       # B is zero: nothing changes at first
    decoder.forward(lora.attached(params, adapters, c), ...)   # gradients reach the adapters alone
    decoder.forward(lora.merged(params, adapters, c), ...)     # the same numbers, one product each

Files are those of the `peft` library, both ways.
"""

import dataclasses
import json
import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from jaxrl.models import decoder, families
from jaxrl.models.layers import Adapted
from jaxrl.models.spec import Spec, stack

TARGETS = ("q", "k", "v", "o", "gate", "up", "down")
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


@dataclasses.dataclass(frozen=True)
class LoraConfig:
    """The `model.lora` keys of a config; rank 0 trains all parameters instead."""

    rank: int = 0
    alpha: float = 16.0
    targets: tuple[str, ...] = TARGETS

    def __post_init__(self):
        if self.rank < 0:
            raise ValueError(f"model.lora.rank={self.rank}: give 0 (no adapters) or more")
        if not self.alpha > 0:
            raise ValueError(f"model.lora.alpha={self.alpha}: give a number above 0")
        wrong = [t for t in self.targets if t not in TARGETS]
        if wrong or not self.targets or len(set(self.targets)) < len(self.targets):
            raise ValueError(
                f"model.lora.targets={self.targets}: give some of {', '.join(TARGETS)}, each once"
            )

    @property
    def scale(self):
        """α / r."""
        return self.alpha / self.rank


def specs(model, c):
    """{"layers": {target: {"a": [L, in.., r], "b": [L, r, out..]}}} as specs."""
    tree = decoder.specs(model)["layers"]
    one = lambda s: dataclasses.replace(s, shape=s.shape[1:], axes=s.axes[1:])
    return {"layers": stack({t: _pair(one(tree[t]), c.rank) for t in c.targets}, model.L)}


def attached(params, adapters, c):
    """The decoder's parameters with Adapted matrices in the place of the targets."""
    pair = lambda t, x: Adapted(params["layers"][t], x["a"], x["b"] * c.scale)
    changed = {t: pair(t, x) for t, x in adapters["layers"].items()}
    return params | {"layers": params["layers"] | changed}


def merged(params, adapters, c):
    """The decoder's parameters with the changes added in."""

    def add(t, x):
        w = params["layers"][t]
        change = jnp.einsum("lir,lro->lio", _flat(x["a"], -1), _flat(x["b"], 2))
        return w + (c.scale * change).reshape(w.shape).astype(w.dtype)

    changed = {t: add(t, x) for t, x in adapters["layers"].items()}
    return params | {"layers": params["layers"] | changed}


def save(adapters, model, c, base, path):
    """Writes the directory that `peft.PeftModel.from_pretrained` reads; must not exist yet.

    base: the name or path of the base model, which peft's file repeats.
    """
    path = Path(path)
    path.mkdir(parents=True)
    tensors = {}
    for t, x in adapters["layers"].items():
        a, b = _flat(np.asarray(x["a"]), -1), _flat(np.asarray(x["b"]), 2)
        for i in range(model.L):
            tensors[f"{_peft_name(t, i)}.lora_A.weight"] = np.ascontiguousarray(a[i].T)
            tensors[f"{_peft_name(t, i)}.lora_B.weight"] = np.ascontiguousarray(b[i].T)
    safetensors.numpy.save_file(tensors, path / WEIGHTS, metadata={"format": "pt"})
    names = [_hf_name(t).split(".")[-1] for t in c.targets]
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": str(base)}
    config |= {"r": c.rank, "lora_alpha": c.alpha, "target_modules": names, "bias": "none"}
    (path / CONFIG).write_text(json.dumps(config, indent=2) + "\n")


def load(path, model):
    """(adapters, LoraConfig) of such a directory; refuses what we do not compute."""
    path = Path(path)
    config = json.loads((path / CONFIG).read_text())
    c = _from_peft(config, path)
    tensors = safetensors.numpy.load_file(path / WEIGHTS)
    shapes = specs(model, c)["layers"]
    wanted = {
        f"{_peft_name(t, i)}.lora_{x}.weight" for t in shapes for i in range(model.L) for x in "AB"
    }
    if set(tensors) != wanted:
        odd = sorted(set(tensors) ^ wanted)[:3]
        raise ValueError(
            f"{path / WEIGHTS} and the model differ in {len(set(tensors) ^ wanted)} tensors, such as "
            f"{', '.join(odd)}: the adapter is of another model or of other targets"
        )

    def leaf(t, side, shape):
        rows = [tensors[f"{_peft_name(t, i)}.lora_{side}.weight"].T for i in range(model.L)]
        if rows[0].size * model.L != math.prod(shape):
            raise ValueError(
                f"{path / WEIGHTS}: {_peft_name(t, 0)}.lora_{side}.weight has shape "
                f"{rows[0].T.shape}, the model needs {shape[1:]}: it is of another model"
            )
        return np.stack(rows).reshape(shape).astype(np.float32)

    pair = lambda t, s: {"a": leaf(t, "A", s["a"].shape), "b": leaf(t, "B", s["b"].shape)}
    return {"layers": {t: pair(t, s) for t, s in shapes.items()}}, c


def _from_peft(config, path):
    known = {"peft_type": "LORA", "bias": "none", "use_rslora": False, "use_dora": False}
    for key, value in known.items():
        if config.get(key, value) != value:
            raise ValueError(
                f"{path / CONFIG}: {key}={config[key]!r} is not supported: use {value!r}"
            )
    ours = {_hf_name(t).split(".")[-1]: t for t in TARGETS}
    wrong = sorted(set(config["target_modules"]) - set(ours))
    if wrong:
        raise ValueError(f"{path / CONFIG}: targets {wrong} are not supported: use {sorted(ours)}")
    targets = tuple(t for name, t in ours.items() if name in config["target_modules"])
    return LoraConfig(config["r"], config["lora_alpha"], targets)


def _pair(s, rank):
    """The two specs of a matrix: `fan_in` leading axes come in, the rest go out."""
    into, out = slice(0, s.fan_in), slice(s.fan_in, None)
    a = Spec((*s.shape[into], rank), (*s.axes[into], "rank"), fan_in=s.fan_in)
    return {"a": a, "b": Spec((rank, *s.shape[out]), ("rank", *s.axes[out]), "zeros")}


def _flat(x, keep):
    """[L, in.., r] -> [L, in, r] for keep −1, [L, r, out..] -> [L, r, out] for keep 2."""
    return x.reshape(x.shape[0], -1, x.shape[-1]) if keep < 0 else x.reshape(*x.shape[:2], -1)


def _hf_name(target):
    return families.NAMES["layers", target][0].removesuffix(".weight")


def _peft_name(target, layer):
    return "base_model.model." + _hf_name(target).format(layer)
