"""The graph against exact search: nearly all of the best, with exact scores."""

import numpy as np
import pytest
import tiny_encoder

from jaxrl.retrieval import build, documents, index, search

approximate = pytest.importorskip("jaxrl.retrieval.approximate")

TEXTS = [f"a{i % 17} b{i % 23} c{i % 29} d{i}" for i in range(400)]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """An index of 400 texts, one of them without a row."""

    def encode(texts):
        rows = tiny_encoder.rows(texts)
        rows[[text == TEXTS[7] for text in texts]] = np.nan
        return rows

    folder = tmp_path_factory.mktemp("approximate")
    corpus = documents.held([str(i) for i in range(400)], TEXTS)
    encoder, c = tiny_encoder.make(documents=encode), build.IndexConfig(not_finite="count")
    build.build(folder / "index", corpus, encoder, c)
    return encoder, index.open_index(folder / "index"), folder


def test_it_finds_nearly_all_of_the_best_with_their_exact_scores(opened):
    encoder, source, folder = opened
    approximate.build(source, folder / "graph")
    graph = approximate.open_graph(folder / "graph", source)
    find = search.searcher(encoder, approximate.finder(source, graph))
    queries = [f"a{i % 17} c{i % 29}" for i in range(20)]
    got = find(queries, 10)
    scores = encoder.queries(queries) @ source.rows(np.arange(400)).T
    best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    found = np.mean([len(set(g) & set(b)) / 10 for g, b in zip(got.numbers, best, strict=True)])
    assert found > 0.95
    np.testing.assert_allclose(got.scores, np.take_along_axis(scores, got.numbers, 1), atol=1e-6)
    assert (np.diff(got.scores, axis=1) <= 0).all() and not (got.numbers == 7).any()
    one = find(queries[:1], 10)
    np.testing.assert_array_equal(one.numbers, got.numbers[:1])
    assert find(queries[:2], 1000).numbers.shape == (2, 399)


def test_the_same_rows_give_the_same_graph(opened):
    _, source, folder = opened
    for name in ("one", "two"):
        approximate.build(source, folder / name)
    assert (folder / "one").read_bytes() == (folder / "two").read_bytes()


def test_a_graph_of_int8_rows(opened):
    encoder, source, folder = opened
    build.recode(source, folder / "int8", "int8")
    packed = index.open_index(folder / "int8")
    approximate.build(packed, folder / "graph8")
    graph = approximate.open_graph(folder / "graph8", packed)
    got = search.searcher(encoder, approximate.finder(packed, graph))([TEXTS[40]], 1)
    assert got.numbers.tolist() == [[40]] and got.scores[0, 0] == pytest.approx(1, abs=0.02)


def test_what_does_not_fit_is_refused(opened):
    _, source, folder = opened
    with pytest.raises(FileNotFoundError, match="no such graph"):
        approximate.open_graph(folder / "none", source)
    build.recode(source, folder / "binary", "binary")
    with pytest.raises(ValueError, match="binary"):
        approximate.build(index.open_index(folder / "binary"), folder / "x")
    small = documents.held("ab", TEXTS[:2])
    build.build(folder / "small", small, tiny_encoder.make(), build.IndexConfig())
    approximate.build(index.open_index(folder / "small"), folder / "small.graph")
    with pytest.raises(ValueError, match=r"holds 2 rows .* the index 399"):
        approximate.open_graph(folder / "small.graph", source)
