"""Batches of Examples, each of one source, and the numbers of their documents.

    stream = batches(rows.found, 512, seed=0)
    batch = next(stream)                            512 Examples of one source
    id_NK, there_NK = numbered(batch)

In Qwen3-VL-Embedding (arXiv:2601.04720), GVE (arXiv:2510.27571) and E2Rank (arXiv:2510.22733), too,
a batch is of one data set: others' documents would be negatives that give themselves away.
"""

import itertools
import math

import grain
import numpy as np

from jaxrl.data import sources


def batches(examples, size, seed, weights=None):
    """An endless iterator of lists of `size` Examples of one source, with get_state and set_state.

    An epoch of a source is each of its queries once, shuffled anew; of a query's Examples (one a
    positive) it has the next in turn. Batches run on across epochs, and a query never stands twice
    in a batch: its positives would be each other's negatives. One that comes too early waits for
    the next batch. Another query's document that is a further positive of this one is not seen.

    weights: {source: above 0}, None = the numbers of their queries. Sources come in these
    proportions, in a fixed order as even as they allow; not given in the papers; our choice.
    """
    groups = _by_source(examples)
    _check(groups, size, weights)
    shares = {s: len(queries) for s, queries in groups.items()} if weights is None else weights
    parts = [_Apart(_in_turn(queries, seed), examples, size) for queries in groups.values()]
    return iter(grain.IterDataset.mix(parts, [shares[source] for source in groups]))


def numbered(batch, K=None):
    """Numbers of the documents of a batch, equal ones for equal contents.

    K: documents of a row, at least the most there are, which it is if not given.
    returns: (ids int32 [N, K], −1 where there is no document; there bool [N, K]): `id_NK` and
    `mask_NK` of ops.contrastive_losses.Labels.
    """
    most = max(len(example.documents) for example in batch)
    if K is not None and K < most:
        raise ValueError(f"K={K}: a row of the batch has {most} documents; give at least as many")
    ids, number = np.full((len(batch), K or most), -1, np.int32), {}
    for n, example in enumerate(batch):
        for k, document in enumerate(example.documents):
            ids[n, k] = number.setdefault(document, len(number))
    return ids, ids >= 0


def _by_source(examples):
    """{source: lists of the numbers of Examples with one query}."""
    groups = {}
    for number, example in enumerate(examples):
        of_query = groups.setdefault(example.source, {})
        of_query.setdefault(example.query, []).append(number)
    return {source: list(queries.values()) for source, queries in groups.items()}


def _check(groups, size, weights):
    if not groups:
        raise ValueError("there is no example: give at least one batch of them")
    if size < 1:
        raise ValueError(f"size={size}: give at least 1 example a batch")
    small = {source: len(queries) for source, queries in groups.items() if len(queries) < size}
    if small:
        raise ValueError(
            f"sources have fewer different queries than size={size}: {small}; a query must not "
            "stand twice in a batch: give smaller batches, leave these out, or name several "
            "sources alike"
        )
    if weights is not None:
        if set(weights) != set(groups):
            raise KeyError(f"weights has {sorted(weights)}: give one for each of {sorted(groups)}")
        wrong = {s: w for s, w in weights.items() if not 0 < w < math.inf}
        if wrong:
            raise ValueError(f"weights={wrong}: give numbers above 0, or leave the rows out")


def _in_turn(queries, seed):
    """Numbers of Examples without end: every query once an epoch, each time its next one."""
    epoch = sources.endless(grain.MapDataset.range(len(queries)), seed)

    def example(place, query):
        numbers = queries[query]
        return numbers[place // len(queries) % len(numbers)]

    return sources.inline(epoch.map_with_index(example))


class _Apart(grain.IterDataset):
    """Batches of Examples in the order of their numbers, but never a query twice in one."""

    def __init__(self, numbers, examples, size):
        super().__init__(numbers)
        self._how = examples, size

    def __iter__(self):
        return _ApartIterator(iter(self._parent), *self._how)


class _ApartIterator(grain.DatasetIterator):
    """Its state is that of the numbers, and those that wait: fewer than a batch."""

    def __init__(self, numbers, examples, size):
        super().__init__(numbers)
        self._examples, self._size, self._waiting = examples, size, []

    def __next__(self):
        batch, waiting = {}, []
        for number in itertools.chain(self._waiting, self._parent):
            example = self._examples[number]
            if example.query in batch:
                waiting.append(number)
            else:
                batch[example.query] = example
            if len(batch) == self._size:  # those that waited have all been seen: they are fewer
                self._waiting = waiting
                return list(batch.values())
        raise StopIteration

    def get_state(self):
        return {"numbers": self._parent.get_state(), "waiting": list(self._waiting)}

    def set_state(self, state):
        self._parent.set_state(state["numbers"])
        self._waiting = list(state["waiting"])
