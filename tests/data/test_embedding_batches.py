"""Batches of one source, no query twice in one, resumed exactly; documents by content."""

import collections
import json

import numpy as np
import pytest

from jaxrl.data import embedding_batches
from jaxrl.data.contents import Content, Example


def example(query, *documents, source="s"):
    return Example(Content(query), tuple(map(Content, documents)), source=source)


def source(name, queries, positives=1):
    """Examples of a source: each query with `positives` of them."""
    of = lambda q: [example(f"{name}{q}", f"{name}{q}/{p}", source=name) for p in range(positives)]
    return [x for q in range(queries) for x in of(q)]


def take(stream, n):
    return [next(stream) for _ in range(n)]


def queries(batches):
    return [x.query.text for batch in batches for x in batch]


@pytest.mark.parametrize("many, size", [(10, 5), (10, 4), (7, 7), (7, 6), (1, 1), (5, 3)])
def test_every_query_comes_once_an_epoch_and_never_twice_in_a_batch(many, size):
    """A batch over the border of two epochs met a query of both, unless one of them waits: it
    comes at most a batch too late."""
    done = take(embedding_batches.batches(source("a", many), size, seed=2), 6 * many)
    assert all(len(set(queries([batch]))) == size for batch in done)
    order = queries(done)
    for epoch in range(1, len(order) // many):
        seen = collections.Counter(order[: epoch * many])
        assert all(epoch - 1 <= seen[f"a{q}"] <= epoch + 1 for q in range(many))
    counts = collections.Counter(order).values()
    assert max(counts) - min(counts) <= 1
    first, second = order[:many], order[many : 2 * many]
    assert many < 6 or first != second


def test_the_positives_of_a_query_take_turns():
    rows = source("a", 4, positives=3)
    order = [x for batch in take(embedding_batches.batches(rows, 4, seed=0), 6) for x in batch]
    for q in range(4):
        own = [x.documents[0].text for x in order if x.query.text == f"a{q}"]
        assert own == [f"a{q}/{p}" for p in (0, 1, 2, 0, 1, 2)]


def test_batches_are_of_one_source_in_proportion():
    rows = source("a", 30) + source("b", 10) + source("c", 20)
    done = take(embedding_batches.batches(rows, 5, seed=0), 24)
    named = [{x.source for x in batch} for batch in done]
    assert all(len(names) == 1 for names in named)
    assert collections.Counter(name for (name,) in named) == {"a": 12, "b": 4, "c": 8}
    done = take(embedding_batches.batches(rows, 5, seed=0, weights={"a": 1, "b": 3, "c": 0.5}), 18)
    assert collections.Counter(b[0].source for b in done) == {"a": 4, "b": 12, "c": 2}


def test_the_seed_decides_the_order():
    rows = source("a", 50)
    first = [queries(take(embedding_batches.batches(rows, 10, seed=s), 5)) for s in (1, 1, 2)]
    assert first[0] == first[1] != first[2]


@pytest.mark.parametrize("done", [0, 1, 2, 3, 7, 11])
def test_a_resumed_stream_goes_on_as_if_never_stopped(done):
    """Also where a query waits: seven queries in batches of five meet a border in each second."""
    rows = source("a", 7, positives=2) + source("b", 6)
    make = lambda: embedding_batches.batches(rows, 5, seed=4)
    whole = take(make(), 16)
    stopped = make()
    take(stopped, done)
    state = json.loads(json.dumps(stopped.get_state()))
    resumed = make()
    resumed.set_state(state)
    assert take(resumed, 16 - done) == whole[done:]
    waited = make()
    assert any(w["waiting"] for _ in range(16) if next(waited) for w in parts(waited.get_state()))


def parts(state):
    return [part for part in state["parents"] if isinstance(part, dict)]


@pytest.mark.parametrize(
    "how, words",
    [
        ({"size": 0}, "size=0"),
        ({"size": 4}, r"fewer different queries than size=4: \{'b': 3\}; a query must not"),
        ({"seed": -1}, "seed=-1"),
        ({"examples": []}, "there is no example"),
        ({"weights": {"a": 1}}, r"weights has \['a'\]: give one for each of \['a', 'b'\]"),
        ({"weights": {"a": 1, "b": 0}}, r"weights=\{'b': 0\}: give numbers above 0"),
        ({"weights": {"a": float("nan"), "b": 1}}, "give numbers above 0"),
    ],
)
def test_settings_without_a_stream_are_refused(how, words):
    rows = source("a", 9) + source("b", 3, positives=2)
    how = {"examples": rows, "size": 2, "seed": 0} | how
    with pytest.raises((ValueError, KeyError), match=words):
        embedding_batches.batches(**how)


def test_equal_documents_have_equal_numbers():
    """A positive that is also another query's document is no negative of it."""
    batch = [example("q", "p", "n"), example("r", "n", "o", "p"), example("s", "x")]
    ids, there = embedding_batches.numbered(batch)
    assert ids.dtype == np.int32 and ids.tolist() == [[0, 1, -1], [1, 2, 0], [3, -1, -1]]
    np.testing.assert_array_equal(there, ids != -1)
    assert embedding_batches.numbered(batch, K=5)[0].shape == (3, 5)
    with pytest.raises(ValueError, match="K=2: a row of the batch has 3 documents"):
        embedding_batches.numbered(batch, K=2)


def test_pictures_make_documents_different():
    same = Content("cat", images=("a.png",))
    batch = [Example(Content("q"), (same, Content("cat"), Content("cat", videos=("a.png",)), same))]
    assert embedding_batches.numbered(batch)[0].tolist() == [[0, 1, 2, 0]]
