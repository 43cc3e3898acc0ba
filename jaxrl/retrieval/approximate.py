"""Approximate search of large indexes by usearch's graphs (HNSW, arXiv:1603.09320), on the host.

    approximate.build(index, "graph.usearch")
    find = approximate.finder(index, approximate.open_graph("graph.usearch", index))
    search.searcher(encoder, find)(["why is the sky blue"], 10)

usearch was chosen of three: it is kept, its wheels are 13 MB, and it serves float32 and int8 graphs
from the file. faiss-cpu is kept too, a little larger, and has far more than is wanted here. hnswlib
had its last release in 2023, as source to compile. Exact search comes first: it misses nothing, and
needs no graph.
"""

from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress
from usearch.index import Index as Graph
from usearch.index import MetricKind

from jaxrl.retrieval import search

TOGETHER = 4096  # rows added at once
DTYPES = {"float32": "f32", "int8": "i8"}


def build(index, path, *, connectivity=16, expansion=128):
    """Writes the graph of an open Index's rows to a file.

    connectivity: M of the paper, neighbours of a node; expansion: efConstruction, candidates looked
    at. One thread: with several the graph depends on their timing.
    """
    graph = _graph(index, connectivity, expansion)
    numbers = np.setdiff1d(np.arange(len(index)), index.absent)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(Path(path).name, total=len(numbers))
        for start in range(0, len(numbers), TOGETHER):
            part = numbers[start : start + TOGETHER]
            graph.add(part, index.rows(part), threads=1)
            bar.update(task, advance=len(part))
    graph.save(str(path))


def open_graph(path, index, *, expansion=128):
    """The graph in a file, mapped; ValueError if it is not of this index's size and dimension.

    expansion: ef of the paper, candidates kept at a search: more are slower and miss less.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such graph; write it with approximate.build")
    graph = _graph(index, 16, 128)
    graph.view(str(path))
    known = len(index) - len(index.absent)
    if (graph.ndim, len(graph)) != (index.dim, known):
        raise ValueError(
            f"{path} holds {len(graph)} rows of dim = {graph.ndim}, the index {known} of "
            f"{index.dim}: write it again with approximate.build"
        )
    graph.expansion_search = expansion
    return graph


def finder(index, graph):
    """A function (rows [Q, D] f32, k) -> Hits: about the k best, with exact scores of the rows."""

    def find(rows, k):
        rows = search.checked(index, rows, k)
        k = min(k, len(graph))
        found = graph.search(rows, k, threads=1)
        numbers = np.asarray(found.keys, np.int64).reshape(len(rows), k)
        if len(rows) > 1:  # of one query only what was found is given
            listed = np.arange(k) < np.asarray(found.counts)[:, None]
            numbers = np.where(listed, numbers, search.NONE)
        hits = search.Hits(np.zeros(numbers.shape, np.float32), numbers.astype(np.int32))
        return search.rescored(index.rows, rows, hits, k)

    return find


def _graph(index, connectivity, expansion):
    dtype = index.header["dtype"]
    if dtype not in DTYPES:
        raise ValueError(f"a graph is built of {sorted(DTYPES)} rows, not of {dtype!r}")
    return Graph(
        ndim=index.dim,
        metric=MetricKind.IP,
        dtype=DTYPES[dtype],
        connectivity=connectivity,
        expansion_add=expansion,
    )
