"""Embedders from and to disk: Hugging Face directories with sentence-transformers' files beside.

    c, tokenizer = open_embedder(path)
    params = checkpoints.load(path, c.model)
    save(params, c, tokenizer, out)

From those files come pooling, normalisation and the longest text. An output head is not read: what
embeds has no use for it, and some embedders' checkpoints lack it.
"""

import dataclasses
from pathlib import Path

from jaxrl.models import checkpoints, decoder, embedder, encoder, hf_files, qwen3_vl

MODULES = "modules.json"
POOLING = "1_Pooling/config.json"
LENGTH = "sentence_bert_config.json"
MODES = {  # sentence-transformers' name of a pooling, new and old -> ours
    "lasttoken": "last",
    "mean": "mean",
    "cls": "cls",
    "pooling_mode_lasttoken": "last",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
}
DEFAULTS = {  # where the directory does not say; the template it never says. Our choice
    decoder.Config: {"pooling": "last", "template": "qwen3"},
    encoder.Config: {"pooling": "mean", "template": "plain"},
    qwen3_vl.Config: {"pooling": "last", "template": "qwen3_vl"},
}
TYPES = "sentence_transformers.models."


def open_embedder(path, **changes):
    """(embedder.Config, tokenizer) of a directory or GGUF file, with `changes` of its fields."""
    path = Path(path)
    model = headless(checkpoints.config(path))
    found = DEFAULTS[type(model)] | (_described(path, model) if path.is_dir() else {})
    c = embedder.Config(model=model, **(found | changes))
    return c, checkpoints.tokenizer(path, model)


def headless(model):
    """The config of the same model without an untied output head."""
    if isinstance(model, qwen3_vl.Config):
        return dataclasses.replace(model, text=headless(model.text))
    if isinstance(model, decoder.Config) and not model.tied:
        return dataclasses.replace(model, headless=True)
    return model


def save(params, c, tokenizer, path, dtype=None):
    """Writes a directory that sentence-transformers opens as this embedder; all of it or nothing.

    It has no place for a template or for `dim`.
    """
    kinds = ["Transformer", "Pooling"] + ["Normalize"] * c.normalize
    folders = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": i, "name": str(i), "path": folder, "type": TYPES + kind}
        for i, (kind, folder) in enumerate(zip(kinds, folders, strict=False))
    ]
    modes = {key: MODES[key] == c.pooling for key in MODES if key.startswith("pooling_mode_")}
    beside = {
        MODULES: modules,
        POOLING: {"word_embedding_dimension": c.model.D, **modes},
        LENGTH: {"max_seq_length": c.longest, "do_lower_case": False},
    }
    checkpoints.save(params, c.model, tokenizer, path, dtype=dtype, beside=beside)


def _described(path, model):
    """What sentence-transformers' files say; {} without them."""
    if not (path / MODULES).is_file():
        return {}
    modules = hf_files.read_json(path / MODULES)
    kinds = [module["type"].split(".")[-1] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ValueError(
            f"{path}/{MODULES} lists {kinds}: only Transformer, Pooling and then perhaps Normalize "
            "are supported; embedders with further layers need them written here"
        )
    pooling = path / modules[1]["path"] / "config.json"
    out = {"pooling": _pooling(pooling), "normalize": len(kinds) == 3}
    return out | {"limit": _limit(path, model)}


def _pooling(file):
    found = hf_files.read_json(file)
    modes = [found["pooling_mode"]] if isinstance(found.get("pooling_mode"), str) else []
    modes += [key for key, value in found.items() if key.startswith("pooling_mode_") and value]
    if len(modes) != 1 or modes[0] not in MODES:
        raise ValueError(
            f"{file} asks for {modes or found}: only one of {list(MODES)} is supported"
        )
    if found.get("include_prompt", True) is not True:
        raise ValueError(f"{file} has include_prompt=false: only true is supported")
    return MODES[modes[0]]


def _limit(path, model):
    """The longest text as sentence-transformers finds it: its own file, or the tokenizer's."""
    own = hf_files.read_json(path / LENGTH) if (path / LENGTH).is_file() else {}
    if own.get("do_lower_case"):
        raise ValueError(
            f"{path}/{LENGTH} has do_lower_case=true: only false is supported, where the tokenizer "
            "itself lowers the case"
        )
    file = path / "tokenizer_config.json"
    other = hf_files.read_json(file) if file.is_file() else {}
    given = own.get("max_seq_length") or other.get("model_max_length") or model.context
    return min(int(given), model.context)
