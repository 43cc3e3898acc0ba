"""Adapters as the directories of the `peft` library, both ways."""

import math
from pathlib import Path

import numpy as np

from jaxrl.models import families, hf_files, lora

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
PREFIX = "base_model.model."
PLAIN = {  # keys whose other values would change the forward pass -> the values we compute
    "peft_type": ("LORA",),
    "bias": ("none",),
    "init_lora_weights": (True, False, "gaussian", "orthogonal", "eva"),  # others move the base
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
    "layers_to_transform": (None,),
    "layer_replication": (None,),
    "modules_to_save": (None, []),
    "exclude_modules": (None, []),
    "trainable_token_indices": (None,),
    "target_parameters": (None, []),
    "alora_invocation_tokens": (None,),
    **dict.fromkeys(("fan_in_fan_out", "use_rslora", "use_dora", "use_qalora"), (False,)),
    **dict.fromkeys(("lora_bias", "use_bdlora"), (False, None)),
}


def save(adapters, model, c, base, path):
    """Writes the directory that `peft.PeftModel.from_pretrained` reads, all of it or nothing.

    base: the name or path of the base model, which peft's file repeats. Refuses a `path` that
    exists.
    """
    tensors = []
    for t, x in adapters["layers"].items():
        a, b = np.asarray(lora.columns(x["a"])), np.asarray(lora.rows(x["b"]))
        for i in range(model.L):
            tensors += [_tensor(t, i, "A", a[i].T), _tensor(t, i, "B", b[i].T)]
    names = [_hf_name(t).split(".")[-1] for t in c.targets]
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": str(base)}
    config |= {"r": c.rank, "lora_alpha": c.alpha, "target_modules": names, "bias": "none"}
    with hf_files.new_directory(Path(path)) as folder:
        hf_files.write_json(folder / CONFIG, config)
        hf_files.write_safetensors(folder / WEIGHTS, tensors)


def load(path, model):
    """(adapters, LoraConfig) of such a directory; refuses what we do not compute."""
    path = Path(path)
    c = _config(hf_files.read_json(path / CONFIG), path / CONFIG)
    lora.check(model, c)
    file = hf_files.open_safetensors(path / WEIGHTS)
    _check_names(set(file.keys()), model, c, path / WEIGHTS)

    def leaf(t, side, shape):
        rows = [file.get_tensor(_name(t, i, side)).T for i in range(model.L)]
        if rows[0].size * model.L != math.prod(shape):
            raise ValueError(
                f"{path / WEIGHTS}: {_name(t, 0, side)} has shape {rows[0].T.shape}, the model "
                f"needs {shape[1:]}: the adapter is of another model; give one of this"
            )
        return np.stack(rows).reshape(shape).astype(np.float32)

    pair = lambda t, s: {"a": leaf(t, "A", s["a"].shape), "b": leaf(t, "B", s["b"].shape)}
    return {"layers": {t: pair(t, s) for t, s in lora.specs(model, c)["layers"].items()}}, c


def _config(peft, file):
    for key, allowed in PLAIN.items():
        if key in peft and peft[key] not in allowed:
            raise ValueError(
                f"{file}: {key}={peft[key]!r} is not supported: use {allowed[0]!r}, or merge the "
                "adapter into its base with peft"
            )
    ours, asked = {_hf_name(t).split(".")[-1]: t for t in lora.TARGETS}, peft["target_modules"]
    wrong = [asked] if isinstance(asked, str) else sorted(set(asked) - set(ours))
    if wrong:
        raise ValueError(f"{file}: target_modules {wrong} are not supported: use {sorted(ours)}")
    targets = tuple(t for name, t in ours.items() if name in asked)
    return lora.LoraConfig(peft["r"], float(peft["lora_alpha"]), targets)


def _check_names(found, model, c, file):
    wanted = {_name(t, i, x) for t in c.targets for i in range(model.L) for x in "AB"}
    if odd := sorted(found ^ wanted):
        raise ValueError(
            f"{file} and the model differ in {len(odd)} tensors, such as {', '.join(odd[:3])}: the "
            "adapter is of another model or of other targets; give one of this"
        )


def _tensor(t, layer, side, x):
    return hf_files.Tensor(_name(t, layer, side), x.shape, x.dtype, lambda: x)


def _hf_name(target):
    return families.NAMES["layers", target][0].removesuffix(".weight")


def _name(target, layer, side):
    return f"{PREFIX}{_hf_name(target).format(layer)}.lora_{side}.weight"
