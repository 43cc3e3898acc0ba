"""Adapters as the directories of the `peft` library, both ways."""

import math
from pathlib import Path

import numpy as np

from jaxrl.models import families, forms, hf_files, lora

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
        for i in range(len(a)):
            tensors += [_tensor(model, t, i, "A", a[i].T), _tensor(model, t, i, "B", b[i].T)]
    names = [_module(t) for t in c.targets]
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
        rows = [file.get_tensor(_name(model, t, i, side)).T for i in range(shape[0])]
        if rows[0].size * len(rows) != math.prod(shape):
            raise ValueError(
                f"{path / WEIGHTS}: {_name(model, t, 0, side)} has shape {rows[0].T.shape}, the "
                f"model needs {shape[1:]}: the adapter is of another model; give one of this"
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
    ours, asked = {_module(t): t for t in lora.TARGETS}, peft["target_modules"]
    wrong = [asked] if isinstance(asked, str) else sorted(set(asked) - set(ours))
    if wrong:
        raise ValueError(f"{file}: target_modules {wrong} are not supported: use {sorted(ours)}")
    targets = tuple(t for name, t in ours.items() if name in asked)
    return lora.LoraConfig(peft["r"], float(peft["lora_alpha"]), targets)


def _check_names(found, model, c, file):
    layers = range(lora.text_decoder(model).L)
    wanted = {_name(model, t, i, x) for t in c.targets for i in layers for x in "AB"}
    if odd := sorted(found ^ wanted):
        raise ValueError(
            f"{file} and the model differ in {len(odd)} tensors, such as {', '.join(odd[:3])}: the "
            "adapter is of another model or of other targets; give one of this"
        )


def _tensor(model, t, layer, side, x):
    return hf_files.Tensor(_name(model, t, layer, side), x.shape, x.dtype, lambda: x)


def _module(target):
    """The name of its modules, one in each layer, which is the same in every model."""
    return families.NAMES["layers", target][0].split(".")[-2]


def _name(model, target, layer, side):
    name = forms.FORMS[type(model)].names["layers", target][0].removesuffix(".weight")
    return f"{PREFIX}{name.format(layer)}.lora_{side}.weight"
