"""Writes an index shard by shard; a build that was killed goes on where it stopped.

What a header lists is finished: a shard's files are written beside their place and moved there, and
the header after them. A second run keeps every listed shard whose files and documents are still the
same and makes the others. The result is the same to the bit: a shard's batches never depend on how
far an earlier run had come. Two runs at a time are not: the second is refused.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from jaxrl.retrieval import encoders, index
from jaxrl.retrieval.codes import CODES
from jaxrl.retrieval.documents import described, refuse_duplicates

LOCK = "build.lock"  # an empty file, which stays


@dataclasses.dataclass(frozen=True)
class IndexConfig:
    """How a corpus is stored."""

    dtype: str = "float32"  # a key of codes.CODES
    shard: int = 16384  # documents of a file: what a killed build repeats at most
    batch: int = 1024  # documents that the encoder is given at once, to batch by length
    not_finite: str = "refuse"  # rows with NaN or inf; or "count": they are stored, but never found

    def __post_init__(self):
        if self.dtype not in CODES:
            raise ValueError(f"dtype = {self.dtype!r} is unknown: give one of {sorted(CODES)}")
        if self.shard < 1 or self.batch < 1:
            raise ValueError(f"shard = {self.shard} and batch = {self.batch} must be at least 1")
        if self.not_finite not in ("refuse", "count"):
            raise ValueError(f'not_finite = {self.not_finite!r}: give "refuse" or "count"')


def build(path, documents, encoder, c, *, model=""):
    """Encodes documents into the directory `path`, or what an earlier run of the same has left.

    documents: a documents.Documents; encoder: an encoders.Encoder; model: the name it was opened
    by, kept for the search.  returns: {"encoded", "kept", "remade", "absent"}, counts of documents.
    """
    plan = _plan(model, encoder.fingerprint, encoder.dim, c.dtype, c.shard, len(documents.ids))
    refuse_duplicates(documents.ids)

    def shard(number, tell):
        ids, contents = _slice(documents, number, c.shard)
        return ids, _digest(ids, contents), lambda: _encoded(encoder, ids, contents, c, tell)

    return _write(path, plan, shard)


def recode(source, path, dtype):
    """Writes the rows of an open Index of float32 in another dtype; nothing is encoded again."""
    if source.header["dtype"] != "float32":
        raise ValueError(f"recode takes an index of float32, not {source.header['dtype']!r}")
    header = source.header
    known = (header[key] for key in ("model", "fingerprint", "dim"))
    plan = _plan(*known, IndexConfig(dtype).dtype, header["shard"], len(source))

    def shard(number, tell):
        start, old = number * header["shard"], header["shards"][number]
        ids = source.ids[start : start + old["rows"]]

        def make():
            tell(len(ids))
            return np.array(source.shards[number]["row"]), old["absent"]

        return ids, old["documents_sha256"], make

    return _write(path, plan, shard)


def _plan(model, fingerprint, dim, dtype, shard, count):
    values = (index.FORMAT, model, fingerprint, dim, dtype, shard, count)
    return dict(zip(index.PLAN, values, strict=True))


def _write(path, plan, shard):
    """Makes what is missing. shard: number, tell -> (ids, digest, () -> (rows, absent rows))."""
    path = Path(path)
    _refuse_others(path)
    with _alone(path):
        return _completed(path, _begun(path, plan), plan, shard)


def _completed(path, header, plan, shard):
    counts = dict.fromkeys(("encoded", "kept", "remade", "absent"), 0)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(str(path.name), total=plan["count"])
        tell = lambda n: bar.update(task, advance=n)
        for number in range(-(-plan["count"] // plan["shard"])):
            ids, digest, make = shard(number, tell)
            listed = header["shards"][number] if number < len(header["shards"]) else None
            if listed:
                _same(path, number, listed, digest)
            if listed and not index.damage(path, header, number, listed):
                counts["kept"] += len(ids)
                tell(len(ids))
            else:
                counts["remade" if listed else "encoded"] += len(ids)
                header["shards"][number : number + 1] = [
                    _store(path, plan["dtype"], number, ids, digest, *make())
                ]
                _put(path / "header.json", json.dumps(header, indent=1).encode())
            counts["absent"] += len(header["shards"][number]["absent"])
    return counts


def _refuse_others(path):
    if index.read_header(path) is None and path.exists():
        ours = lambda at: at.name == LOCK or at.suffix == ".part"  # of a build killed as it began
        if not all(map(ours, path.iterdir())):
            raise FileExistsError(f"{path} holds other files: name an empty or a new directory")


@contextlib.contextmanager
def _alone(path):
    """Holds the directory's lock, which the system takes back from a process however it ends."""
    path.mkdir(parents=True, exist_ok=True)
    with (path / LOCK).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                f"another build is writing to {path}: wait until it has ended, or name another "
                "directory"
            ) from None
        yield


def _begun(path, plan):
    """The header as an earlier run left it, or a new one, written."""
    header = index.read_header(path)
    if header is None:
        header = plan | {"shards": []}
        _put(path / "header.json", json.dumps(header, indent=1).encode())
    for key in index.PLAN:
        if header[key] != plan[key]:
            raise ValueError(
                f"{path} was begun with {key} = {header[key]!r}, this run has {plan[key]!r}: "
                "give the same again, or another directory"
            )
    return header


def _same(path, number, listed, digest):
    if listed["documents_sha256"] != digest:
        raise ValueError(
            f"shard {number} of {path} was made of other documents: give the same corpus again, "
            "or another directory"
        )


def _slice(documents, number, size):
    start = number * size
    ids = documents.ids[start : start + size]
    return ids, documents.read(start, start + len(ids))


def _digest(ids, contents):
    whole = hashlib.sha256()
    for pair in zip(ids, contents, strict=True):
        whole.update(json.dumps(pair, default=described).encode())
    return whole.hexdigest()


def _encoded(encoder, ids, contents, c, tell):
    """(rows, numbers of those not finite, which are stored as 0)."""
    rows = np.empty((len(ids), encoder.dim), np.float32)
    for start in range(0, len(ids), c.batch):
        part = slice(start, start + c.batch)
        rows[part] = encoders.encode(encoder.documents, contents[part], encoder.dim, ids[part])
        tell(len(ids[part]))
    absent = np.flatnonzero(~np.isfinite(rows).all(axis=1)).tolist()
    if absent and c.not_finite == "refuse":
        raise ValueError(
            f"the rows of {len(absent)} documents are not finite, {ids[absent[0]]!r} is the first: "
            'mend the model or the text, or set not_finite = "count" to leave them out of searches'
        )
    rows[absent] = 0
    return rows, absent


def _store(path, dtype, number, ids, digest, rows, absent):
    """Writes a shard's files; its entry in the header."""
    packed, names = CODES[dtype].pack(rows).tobytes(), json.dumps(ids).encode()
    _put(index.file(path, number, "rows"), packed)
    _put(index.file(path, number, "ids"), names)
    return {
        "rows": len(ids),
        "absent": list(absent),
        "documents_sha256": digest,
        "rows_sha256": hashlib.sha256(packed).hexdigest(),
        "ids_sha256": hashlib.sha256(names).hexdigest(),
    }


def _put(at, content):
    """Replaces a file at once: a reader, or a run after a power cut, finds the old or the new."""
    beside = at.with_name(f"{at.name}.part")
    with beside.open("wb") as f:
        f.write(content)
        f.flush()
        os.fsync(f.fileno())
    os.replace(beside, at)
