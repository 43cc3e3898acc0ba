"""Exact search of an index: products with blocks of its rows, and a running best k.

Each device keeps the best k of the rows it has seen; at the end the devices' lists are merged. A
device is always given `chunk` rows at once, however many devices there are, and equal scores go to
the smaller document number: one device and eight find the same, to the bit. One process only.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxrl.parallel import mesh as meshes
from jaxrl.retrieval import encoders

NONE = -1  # the number of no document


@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """Shapes of the compiled search."""

    chunk: int = 16384  # rows of a device in a block
    queries: int = 256  # at once, at most; fewer are padded to a power of two
    rescore: int = 4  # times k documents are scored again, if exact rows are given


class Hits(NamedTuple):
    """The best documents of each query, best first; equal scores by document number."""

    scores: np.ndarray  # [Q, K] f32, −inf where there are fewer
    numbers: np.ndarray  # [Q, K] int32, -1 there


def searcher(encoder, find):
    """A function (queries: list, k) -> Hits. find: rows [Q, D], k -> Hits, such as a `finder`."""

    def search(queries, k):
        named = [f"query {number}" for number in range(1, len(queries) + 1)]
        return find(encoders.encode(encoder.queries, list(queries), encoder.dim, named), k)

    return search


def finder(index, c=SearchConfig(), *, mesh=None, exact=None, resident=False):
    """A function (rows [Q, D] f32, k) -> Hits of an index.

    exact: an index of the same documents in float32, from whose rows the best are scored again;
    resident: whether the rows stay on the devices, which they must fit, from one call to the next.
    """
    if exact is not None:
        _alike(index, exact)
    mesh = mesh or meshes.make(data=-1)
    blocks = list(loaded(index, c, mesh)) if resident else None

    def find(rows, k):
        if exact is None:
            return best(index, rows, k, c, mesh=mesh, blocks=blocks)
        wide = best(index, rows, k * c.rescore, c, mesh=mesh, blocks=blocks)
        return rescored(exact.rows, rows, wide, k)

    return find


def best(index, queries, k, c=SearchConfig(), *, mesh=None, blocks=None):
    """The k best documents of an index for each query.

    queries: [Q, D] f32; mesh: whose devices share the rows, all devices if not given; blocks: of
    `loaded` with the same c and mesh, otherwise the files are read.  returns: Hits, K = k.
    """
    queries = checked(index, queries, k)
    mesh = mesh or meshes.make(data=-1)
    spread = NamedSharding(mesh, P(mesh.axis_names))
    parts, sizes = _padded(queries, c.queries)
    step = _step(index.code.score, mesh)
    found = [jax.device_put(_nothing(mesh.size, len(q), k), spread) for q in parts]
    for block in loaded(index, c, mesh) if blocks is None else blocks:
        found = [step(carry, q, block) for carry, q in zip(found, parts, strict=True)]
    merged = [_merged(carry, size) for carry, size in zip(found, sizes, strict=True)]
    return Hits(*(np.concatenate(field) for field in zip(*merged, strict=True)))


def loaded(index, c, mesh):
    """Yields all rows, on the devices, in blocks of devices × chunk documents."""
    chunk = min(c.chunk, 1 << (len(index) - 1).bit_length())  # the same for any number of devices
    whole, spread = mesh.size * chunk, NamedSharding(mesh, P(mesh.axis_names))
    for start in range(0, len(index), whole):
        packed = index.block(start, min(start + whole, len(index)))
        pad = lambda x: np.pad(x, [(0, whole - len(x))] + [(0, 0)] * (x.ndim - 1))
        found = ~np.isin(np.arange(start, start + len(packed)), index.absent)
        block = {
            "fields": {name: pad(packed[name]) for name in packed.dtype.names},
            "found": pad(found),  # False: no document, or one without a row
            "first": np.arange(start, start + whole, chunk, dtype=np.int32),  # of each device
        }
        yield jax.device_put(block, spread)


def rescored(rows, queries, hits, k):
    """The k best of the hits by the product with their own rows.

    rows: [...] document numbers -> [..., D] f32; queries: [Q, D] f32.  returns: Hits, K <= k.
    """
    known = hits.numbers != NONE
    scores = np.full(hits.scores.shape, -np.inf, np.float32)
    for q, listed in enumerate(known):
        scores[q, listed] = rows(hits.numbers[q, listed]) @ queries[q]
    return ordered(scores, hits.numbers, k)


def checked(index, queries, k):
    """The queries as [Q, D] f32; ValueError if they or k are not what a search of index takes."""
    queries = np.asarray(queries, np.float32)
    if queries.ndim != 2 or queries.shape[1] != index.dim:
        raise ValueError(f"queries {list(queries.shape)} do not fit an index of dim = {index.dim}")
    if not len(queries) or k < 1:
        raise ValueError(f"{len(queries)} queries and k = {k}: give at least one query, k >= 1")
    if not np.isfinite(queries).all():
        wrong = np.flatnonzero(~np.isfinite(queries).all(axis=1))
        raise ValueError(f"the row of query {wrong[0] + 1} is not finite: nothing is near to it")
    return queries


def ordered(scores, numbers, k):
    """Hits of the k best of [Q, n] scores; what is −inf is no hit."""
    order = np.lexsort((numbers, -scores), axis=-1)[:, :k]
    scores, numbers = (np.take_along_axis(x, order, axis=-1) for x in (scores, numbers))
    return Hits(scores, np.where(np.isneginf(scores), NONE, numbers).astype(np.int32))


@functools.lru_cache(maxsize=16)
def _step(score, mesh):
    """The compiled search of one block: carry, queries [Q, D], block -> carry."""
    rows, alike = P(mesh.axis_names), P()

    @functools.partial(jax.jit, donate_argnums=0, out_shardings=NamedSharding(mesh, rows))
    @functools.partial(
        jax.shard_map, mesh=mesh, in_specs=(rows, alike, rows), out_specs=rows, check_vma=False
    )
    def step(carry, q_QD, block):
        scores_Qn = jnp.where(block["found"], score(q_QD, block["fields"]), -jnp.inf)
        numbers_n = block["first"][0] + jnp.arange(scores_Qn.shape[1], dtype=jnp.int32)
        top_Qk, at_Qk = jax.lax.top_k(scores_Qn, min(carry[0].shape[2], scores_Qn.shape[1]))
        old_scores, old_numbers = carry[0][0], carry[1][0]
        # Earlier rows stand first, and of equal scores top_k takes the first.
        both = jnp.concatenate([old_scores, top_Qk], axis=1)
        numbers = jnp.concatenate([old_numbers, numbers_n[at_Qk]], axis=1)
        scores, at = jax.lax.top_k(both, old_scores.shape[1])
        return scores[None], jnp.take_along_axis(numbers, at, axis=1)[None]

    return step


def _alike(index, exact):
    if exact.header["dtype"] != "float32":
        raise ValueError(f"exact rows are float32; this index has {exact.header['dtype']!r}")
    for key in ("fingerprint", "dim", "count"):
        if index.header[key] != exact.header[key]:
            raise ValueError(
                f"the exact index has {key} = {exact.header[key]!r}, the other one "
                f"{index.header[key]!r}: make the one from the other with build.recode"
            )
    if index.ids != exact.ids:
        raise ValueError("the exact index holds other documents: make one from the other by recode")


def _padded(queries, most):
    """(the queries in parts of `most`, the last of a power of two; how many of each are real)."""
    parts, sizes = [], []
    for start in range(0, len(queries), most):
        part = queries[start : start + most]
        length = min(most, 1 << (len(part) - 1).bit_length())
        parts.append(np.pad(part, ((0, length - len(part)), (0, 0))))
        sizes.append(len(part))
    return parts, sizes


def _nothing(devices, queries, k):
    shape = (devices, queries, k)
    return np.full(shape, -np.inf, np.float32), np.full(shape, NONE, np.int32)


def _merged(carry, size):
    """The devices' lists [S, Q, K] as one."""
    scores, numbers = (np.moveaxis(np.asarray(x), 0, 1)[:size] for x in carry)
    k = scores.shape[2]
    return ordered(scores.reshape(size, -1), numbers.reshape(size, -1), k)
