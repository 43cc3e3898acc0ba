"""An index on disk: the rows of a corpus in files of a fixed number of documents, and a header.

    DIR/header.json       model, fingerprint, dim, dtype, count, shard, and each file's checksum
    DIR/00000.rows        packed rows (codes.py), mapped into memory
    DIR/00000.ids         their ids, a JSON list

build.py writes it. What opens here is whole: a shard that is missing, cut, or not the one that the
header was written for is an error that names it.
"""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np

from jaxrl.retrieval.codes import CODES

FORMAT = 1  # raised where the same rows would be stored otherwise
PLAN = ("format", "model", "fingerprint", "dim", "dtype", "shard", "count")  # fixed from the start


@dataclasses.dataclass(frozen=True)
class Index:
    """An open index."""

    header: dict
    ids: list[str]
    shards: list[np.ndarray]  # [rows] packed, mapped
    absent: np.ndarray  # numbers of the documents that have no row: their encoding was not finite

    @property
    def dim(self):
        """D, of the rows before they were packed."""
        return self.header["dim"]

    @property
    def code(self):
        """How rows are packed and scored."""
        return CODES[self.header["dtype"]]

    def __len__(self):
        return len(self.ids)

    def block(self, start, stop):
        """The packed rows of documents start to stop, from the files: [stop - start] records."""
        size, parts = self.header["shard"], []
        for number in range(start // size, -(-stop // size)):
            first = number * size
            parts.append(self.shards[number][max(start - first, 0) : stop - first])
        return np.concatenate(parts)

    def rows(self, numbers):
        """The rows of document numbers [...], as far as the dtype has kept them: [..., D] f32."""
        numbers = np.asarray(numbers, np.int64)
        packed = np.empty(numbers.size, self.code.dtype(self.dim))
        of, within = np.divmod(numbers.reshape(-1), self.header["shard"])
        for shard in np.unique(of):
            packed[of == shard] = self.shards[shard][within[of == shard]]
        return self.code.unpack(packed, self.dim).reshape(*numbers.shape, self.dim)


def held(ids, rows, absent=()):
    """An Index in memory. rows: [n, D] f32 of length 1; absent: numbers of those that are none."""
    header = {"dtype": "float32", "dim": rows.shape[1], "count": len(ids), "shard": len(ids)}
    packed = CODES["float32"].pack(rows)
    return Index(header, list(ids), [packed], np.asarray(absent, np.int64))


def open_index(path, *, encoder=None, checksums=True):
    """The Index of a directory. encoder: whose queries are to be looked up; another model's is
    refused. checksums: whether the files are read whole to compare them, not their lengths alone.
    """
    path = Path(path)
    header = read_header(path)
    if header is None:
        raise FileNotFoundError(f"{path} holds no index: make one with python -m launch.encode")
    if encoder is not None:
        for key in ("dim", "fingerprint"):
            if header[key] != getattr(encoder, key):
                raise ValueError(
                    f"the index {path} has {key} = {header[key]!r}, the encoder "
                    f"{getattr(encoder, key)!r}: search with the model that made the index "
                    f"({header['model']!r}), or encode the corpus again"
                )
    wanted = -(-header["count"] // header["shard"])
    if len(header["shards"]) < wanted:
        raise ValueError(
            f"the index {path} is unfinished, {len(header['shards'])} of {wanted} shards: run the "
            "command that began it again, it goes on where it stopped"
        )
    for number, shard in enumerate(header["shards"]):
        fault = damage(path, header, number, shard, checksums)
        if fault:
            raise ValueError(f"{fault}: run the command that made it again, it makes that one anew")
    return _opened(path, header)


def _opened(path, header):
    dtype = CODES[header["dtype"]].dtype(header["dim"])
    ids, shards, absent = [], [], []
    for number, shard in enumerate(header["shards"]):
        absent += [len(ids) + row for row in shard["absent"]]
        ids += json.loads(file(path, number, "ids").read_text(encoding="utf-8"))
        shards.append(np.memmap(file(path, number, "rows"), dtype, "r", shape=(shard["rows"],)))
    return Index(header, ids, shards, np.array(absent, np.int64))


def file(path, number, kind):
    """The path of a shard's "rows" or "ids"."""
    return Path(path) / f"{number:05d}.{kind}"


def read_header(path):
    """The header of a directory, or None where there is none; ValueError if it is not ours."""
    at = Path(path) / "header.json"
    if not at.is_file():
        return None
    try:
        header = json.loads(at.read_text(encoding="utf-8"))
        missing = [key for key in (*PLAN, "shards") if key not in header]
    except (ValueError, TypeError) as e:
        raise ValueError(f"{at} is no header of an index ({e}): remove the directory") from None
    if missing:
        raise ValueError(f"{at} is no header of an index: it has no {missing[0]!r}")
    if header["format"] != FORMAT:
        raise ValueError(f"{at} has format {header['format']}, this version reads {FORMAT}")
    return header


def damage(path, header, number, shard, checksums=True):
    """What is wrong with the files of a shard, in words; "" if nothing is."""
    rows, ids = file(path, number, "rows"), file(path, number, "ids")
    for at in (rows, ids):
        if not at.is_file():
            return f"{at} is missing"
    wanted = shard["rows"] * CODES[header["dtype"]].dtype(header["dim"]).itemsize
    if rows.stat().st_size != wanted:
        return f"{rows} has {rows.stat().st_size} bytes, its header says {wanted}"
    for at, key in ((rows, "rows_sha256"), (ids, "ids_sha256")):
        if checksums and _sha256(at) != shard[key]:
            return f"{at} is not the file that its header was written for (checksum)"
    return ""


def _sha256(at):
    with at.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
