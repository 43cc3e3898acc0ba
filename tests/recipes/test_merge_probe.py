"""A probe: what its file may hold, its loss against the paper's sum, its score against nDCG."""

import jax
import numpy as np
import oracles_embedding
import oracles_ranking
import pytest
import tiny_family as two

from jaxrl.recipes import merge_probe

LINES = [
    {"query": "the cat", "positives": ["cat the", "cat"], "negatives": ["on the mat", "cat"]},
    {"query": "sat on", "positives": ["on the mat"], "instruction": "the "},
    {"query": "mat !", "positives": ["mat"], "negatives": ["sat", "!"], "kind": "classification"},
]


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    path = two.write(tmp_path_factory.mktemp("probe") / "rows.jsonl", LINES)
    return merge_probe.read(path, two.C, two.TOKENIZER)


@pytest.fixture(scope="module")
def vectors(probe):
    """Of queries and of documents, as numpy."""
    each = (merge_probe._embed(two.BASE, x, two.C) for x in (probe.query, probe.document))
    return [np.asarray(x) for x in each]


def test_a_row_a_query_and_each_document_once(probe):
    """Documents in the order of the file: cat the, on the mat, cat, mat, sat, !."""
    assert len(probe.query.tokens) == 3 and len(probe.document.tokens) == 6
    assert probe.id_NK[probe.mask_NK].tolist() == [0, 1, 1, 3, 4, 5]
    assert probe.grade_NU.tolist() == [[1, 0, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0]]
    assert probe.own_only_N.tolist() == [False, False, True]
    assert probe.query.valid.sum(1).tolist() == [4, 5, 4]  # [CLS] and [SEP]; "the" before row 1


def test_the_loss_is_the_papers_sum_over_the_rows_that_are_taken(probe, vectors):
    """Row 2, a classification row, has its own negatives alone and is nobody's."""
    row_n, weight_n = np.array([2, 0, 1, 1]), np.array([1, 1, 1, 0], np.float32)
    loss = jax.jit(merge_probe.loss, static_argnames="c")
    got, weight = loss(two.BASE, probe, row_n, weight_n, two.C)
    query, document = vectors
    ids, there = probe.id_NK[row_n], probe.mask_NK[row_n]
    known = ids, there, weight_n > 0, probe.own_only_N[row_n]
    knobs = 0.03, 0.1, False, False, True
    want = oracles_embedding.info_nce(query[row_n], document[ids], *known, *knobs)
    np.testing.assert_allclose(got, sum(want[0].values()), rtol=1e-4)
    assert weight == 3


def test_the_score_is_ndcg_over_all_documents_or_over_a_classification_rows_own(probe, vectors):
    query, document = vectors
    lists = [range(6), range(6), (3, 4, 5)]
    values = []
    for q, listed, grades in zip(query, lists, probe.grade_NU, strict=True):
        run = {str(n): float(q @ document[n]) for n in listed}
        values.append(oracles_ranking.ndcg(run, {str(n): grades[n] for n in listed}, 10))
    got = merge_probe.score(two.BASE, probe, two.C)
    np.testing.assert_allclose(got, np.mean(values), rtol=1e-5)
    assert merge_probe.score(two.scaled(two.BASE, norm=0.0), probe, two.C) < got


def test_no_file_and_no_row_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"probe='.*rows.jsonl' is no file"):
        merge_probe.read(tmp_path / "rows.jsonl", two.C, two.TOKENIZER)
    with pytest.raises(ValueError, match="holds no rows"):
        merge_probe.read(two.write(tmp_path / "rows.jsonl", []), two.C, two.TOKENIZER)
