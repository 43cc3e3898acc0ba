"""Hugging Face directories as files: safetensors read by slice, directories written whole.

Knows names, shapes and bytes; what the tensors mean is the business of checkpoints.py.
"""

import contextlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import ml_dtypes  # noqa: F401  (teaches numpy bfloat16)
import numpy as np
from safetensors import SafetensorError, safe_open

INDEX = "model.safetensors.index.json"
SHARD_BYTES = 4 * 2**30
DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}  # numpy's name -> safetensors'


class Stored(NamedTuple):
    """The tensors of a checkpoint under their Hugging Face names."""

    shapes: dict[str, tuple[int, ...]]
    read: Callable  # (name, slices of the stored tensor) -> numpy array


class Tensor(NamedTuple):
    """One tensor to write."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    fetch: Callable  # () -> numpy array of that shape and dtype


def open_directory(path):
    """The tensors of a directory, single file or sharded; nothing is read yet."""
    if not path.is_dir():
        raise FileNotFoundError(f"no checkpoint directory at {path}: check the path")
    if (path / INDEX).is_file():
        weight_map = read_json(path / INDEX)["weight_map"]
        opened = {file: open_safetensors(path / file) for file in sorted(set(weight_map.values()))}
    elif (path / "model.safetensors").is_file():
        opened = {"model.safetensors": open_safetensors(path / "model.safetensors")}
    else:
        raise FileNotFoundError(
            f"{path} holds neither model.safetensors nor {INDEX}: only safetensors checkpoints are "
            "read; save the model with safe_serialization=True"
        )
    slices = {name: f.get_slice(name) for f in opened.values() for name in f.keys()}
    shapes = {name: tuple(x.get_shape()) for name, x in slices.items()}
    return Stored(shapes, lambda name, index: slices[name][index])


def open_safetensors(file):
    """One file of tensors, under safetensors' own protocol."""
    try:
        return safe_open(file, framework="np")
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{file} is missing, which its index or config asks for: fetch it again"
        ) from error
    except SafetensorError as error:
        raise ValueError(f"{file} is truncated or corrupt ({error}): fetch it again") from error


def write_directory(path, tensors, configs, tokenizer, max_shard_bytes=SHARD_BYTES):
    """Writes tensors, {file name: JSON value} and tokenizer, all of it or nothing."""
    with new_directory(path) as temporary:
        for name, value in configs.items():
            write_json(temporary / name, value)
        tokenizer.save(temporary)
        _write_shards(temporary, tensors, max_shard_bytes)


@contextlib.contextmanager
def new_directory(path):
    """A directory to fill under another name, which then becomes `path`."""
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise FileExistsError(
            f"{path} exists and is not empty: remove it or choose another directory"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)  # mkdtemp's is private
        try:
            os.rename(temporary, path)
        except OSError as error:
            raise FileExistsError(f"{path} appeared meanwhile: choose another directory") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_shards(path, tensors, max_shard_bytes):
    shards, room = [[]], max_shard_bytes
    for tensor in tensors:
        size = _size(tensor)
        if shards[-1] and size > room:
            shards.append([])
            room = max_shard_bytes
        shards[-1].append(tensor)
        room -= size
    if len(shards) == 1:
        return write_safetensors(path / "model.safetensors", tensors)
    weight_map = {}
    for i, shard in enumerate(shards):
        file = f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        write_safetensors(path / file, shard)
        weight_map |= {tensor.name: file for tensor in shard}
    total = {"total_size": sum(map(_size, tensors))}
    write_json(path / INDEX, {"metadata": total, "weight_map": weight_map})


def write_safetensors(file, tensors):
    """One safetensors file, written tensor by tensor: a header, then the bytes in its order."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0  # transformers insists on the format
    for tensor in tensors:
        span = [offset, offset := offset + _size(tensor)]
        kind = DTYPES[tensor.dtype.name]
        header[tensor.name] = {"dtype": kind, "shape": tensor.shape, "data_offsets": span}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the data starts aligned
    with open(file, "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors:
            x = np.ascontiguousarray(tensor.fetch(), tensor.dtype)
            out.write(x.view(np.uint8).data)


def read_json(file):
    """The JSON value in a file, or an error that names it."""
    try:
        return json.loads(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no {file}: check the path") from error
    except ValueError as error:
        raise ValueError(f"{file} is not valid JSON ({error}): fetch it again") from error


def write_json(file, value):
    """A JSON value as a file for people too, in a folder made for it if need be."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _size(tensor):
    return tensor.dtype.itemsize * math.prod(tensor.shape)
