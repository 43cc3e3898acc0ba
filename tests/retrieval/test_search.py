"""Search against a sort of all scores in numpy: three codes, one device and eight, ties."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny_encoder

from jaxrl.parallel import mesh as meshes
from jaxrl.retrieval import build, documents, index, search

N, D, Q = 151, 20, 5
C = search.SearchConfig(chunk=16, queries=4)
ONE = meshes.make(devices=jax.devices()[:1])
EIGHT = meshes.make(data=4, fsdp=2)


def unit(rng, *shape):
    rows = rng.normal(size=shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


ROWS = unit(np.random.default_rng(0), N, D)
ROWS[100:120] = ROWS[20:40]  # duplicates: ties across blocks and devices
QUERIES = unit(np.random.default_rng(1), Q, D)


@pytest.fixture(scope="module")
def indexes(tmp_path_factory):
    """The rows in each dtype."""
    folder = tmp_path_factory.mktemp("indexes")
    by_id = {f"d{i}": row for i, row in enumerate(ROWS)}
    encoder = tiny_encoder.make(D, documents=lambda texts: np.stack([by_id[t] for t in texts]))
    build.build(folder / "f", documents.held(by_id, by_id), encoder, build.IndexConfig(shard=37))
    found = {"float32": index.open_index(folder / "f")}
    for dtype in ("int8", "binary"):
        build.recode(found["float32"], folder / dtype, dtype)
        found[dtype] = index.open_index(folder / dtype)
    return found


def quantised(rows):
    step = np.abs(rows).max(1, keepdims=True) / 127
    return np.round(rows / step) * step


def hamming(q, rows):
    """1 − 2 h / D, bit by bit."""
    return np.array([[1 - 2 * sum((a > 0) != (b > 0)) / D for b in rows] for a in q])


ORACLES = {
    "float32": lambda q, rows: q @ rows.T,
    "int8": lambda q, rows: q @ quantised(rows).T,
    "binary": hamming,
}


def sorted_numbers(scores, k):
    """Document numbers by falling score, equal ones by number."""
    return np.argsort(-scores.round(5), axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("dtype", ORACLES)
@pytest.mark.parametrize("k", [1, 30])
def test_the_best_are_those_of_a_full_sort(indexes, dtype, k):
    """k = 30 exceeds a chunk; five queries are a batch of four and one of one."""
    want = ORACLES[dtype](QUERIES.astype(np.float64), ROWS.astype(np.float64))
    numbers = sorted_numbers(want, k)
    got = search.best(indexes[dtype], QUERIES, k, C, mesh=EIGHT)
    np.testing.assert_array_equal(got.numbers, numbers)
    np.testing.assert_allclose(got.scores, np.take_along_axis(want, numbers, 1), atol=1e-6)
    assert got.scores.dtype == np.float32 and got.numbers.dtype == np.int32


@pytest.mark.parametrize("dtype", ORACLES)
def test_one_device_and_eight_find_the_same_to_the_bit(indexes, dtype):
    one, eight = (search.best(indexes[dtype], QUERIES, 30, C, mesh=m) for m in (ONE, EIGHT))
    np.testing.assert_array_equal(one.numbers, eight.numbers)
    np.testing.assert_array_equal(one.scores, eight.scores)


def test_rows_that_stay_on_the_devices_are_the_same_rows(indexes):
    blocks = list(search.loaded(indexes["int8"], C, EIGHT))
    assert len(blocks) == 2
    got = search.best(indexes["int8"], QUERIES, 7, C, mesh=EIGHT, blocks=blocks)
    want = search.best(indexes["int8"], QUERIES, 7, C, mesh=EIGHT)
    np.testing.assert_array_equal(got.numbers, want.numbers)


def test_more_than_there_are_is_filled_up(indexes):
    got = search.best(indexes["float32"], QUERIES[:1], N + 9, C, mesh=EIGHT)
    assert sorted(got.numbers[0, :N]) == list(range(N))
    assert (got.numbers[0, N:] == search.NONE).all() and np.isneginf(got.scores[0, N:]).all()


def test_rescoring_finds_the_exact_order_again(indexes):
    """Twenty times ten are all: what the signs rank last still comes back."""
    c = dataclasses.replace(C, rescore=20)
    find = search.finder(indexes["binary"], c, mesh=EIGHT, exact=indexes["float32"])
    got = find(QUERIES, 10)
    want = search.best(indexes["float32"], QUERIES, 10, C, mesh=EIGHT)
    np.testing.assert_array_equal(got.numbers, want.numbers)
    np.testing.assert_allclose(got.scores, want.scores, atol=1e-6)


def test_it_compiles_once_for_all_blocks_and_calls(indexes):
    step = search._step(indexes["float32"].code.score, EIGHT)
    step.clear_cache()
    for _ in range(3):
        search.best(indexes["float32"], QUERIES[:4], 3, C, mesh=EIGHT)
    assert step._cache_size() == 1


@pytest.fixture
def texts(tmp_path):
    """An index of texts, one of which has no row."""

    def encode(texts):
        rows = tiny_encoder.rows(texts)
        rows[["lost" in text for text in texts]] = np.inf
        return rows

    corpus = documents.held("abcd", ["red house", "blue house", "lost house", "green car"])
    encoder = tiny_encoder.make(documents=encode)
    build.build(tmp_path, corpus, encoder, build.IndexConfig(not_finite="count"))
    return encoder, index.open_index(tmp_path, encoder=encoder)


def test_a_searcher_takes_texts_and_never_finds_what_has_no_row(texts):
    encoder, source = texts
    for resident in (False, True):
        find = search.searcher(encoder, search.finder(source, mesh=ONE, resident=resident))
        hits = find(["blue house", "green car", "lost house"], 4)
        assert hits.numbers[:2, 0].tolist() == [1, 3]
        assert (hits.numbers[:, 3] == search.NONE).all() and not (hits.numbers == 2).any()


def test_exact_rows_of_another_index_are_refused(texts, indexes):
    with pytest.raises(ValueError, match="dim = 20, the other one 24"):
        search.finder(texts[1], mesh=ONE, exact=indexes["float32"])
    with pytest.raises(ValueError, match="has 'int8'"):
        search.finder(texts[1], mesh=ONE, exact=indexes["int8"])


@pytest.mark.parametrize(
    "queries, k, told",
    [
        (QUERIES[:, :3], 2, "dim = 20"),
        (QUERIES[:0], 2, "0 queries"),
        (QUERIES, 0, "k = 0"),
        (np.where(np.arange(5)[:, None] == 1, np.nan, QUERIES), 2, "query 2 is not finite"),
    ],
)
def test_bad_queries_are_refused(indexes, queries, k, told):
    with pytest.raises(ValueError, match=told):
        search.best(indexes["float32"], queries, k, C, mesh=ONE)
