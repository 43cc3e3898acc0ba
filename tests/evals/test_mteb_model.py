"""The wrapper under mteb's own evaluation of a task made here: its nDCG is ours."""

import numpy as np
import pytest
import tiny_encoder

from jaxrl.evals import judged, mteb_model, retrieval
from jaxrl.retrieval import build, documents, encoders, index, search

TEXTS = [f"word{i} in{i % 5} of{i % 7}" for i in range(30)]
QUERIES = {f"q{i}": f"in{i % 5} of{i % 7} please" for i in range(12)}
QRELS = {f"q{i}": {f"d{j}": 1 for j in range(30) if j % 5 == i % 5} for i in range(12)}


def encoder():
    """Queries are encoded otherwise than documents: a mix-up shows in the numbers."""
    asked = lambda texts: tiny_encoder.rows([f"query {text}" for text in texts])
    return encoders.Encoder(tiny_encoder.rows, asked, tiny_encoder.DIM, "tiny")


def test_it_speaks_mtebs_protocol():
    """The encode of mteb.models.models_protocols, without mteb."""
    model = mteb_model.MtebModel(encoder(), None)
    batches = [{"text": ["red", "blue"], "title": ["", ""]}, {"text": ["green"]}]
    about = {"task_metadata": None, "hf_split": "test", "hf_subset": "default"}
    rows = model.encode(batches, **about, prompt_type="document", batch_size=8)
    np.testing.assert_array_equal(rows, tiny_encoder.rows(["red", "blue", "green"]))
    asked = model.encode(batches, **about, prompt_type="query")
    np.testing.assert_array_equal(asked, encoder().queries(["red", "blue", "green"]))
    np.testing.assert_allclose(model.similarity(rows, rows), rows @ rows.T)
    np.testing.assert_allclose(model.similarity(rows[0], rows), rows[:1] @ rows.T)
    np.testing.assert_allclose(model.similarity_pairwise(rows, rows), np.ones(3), rtol=1e-6)
    with pytest.raises(ValueError, match="no text"):
        model.encode([{"image": [1]}], **about)


@pytest.mark.peers
def test_mteb_and_we_agree_on_a_retrieval_task(tmp_path):
    mteb = pytest.importorskip("mteb")
    datasets = pytest.importorskip("datasets")
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    class Tiny(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="TinyRetrieval",
            description="A task of a test.",
            dataset={"path": "none/none", "revision": "1"},
            type="Retrieval",
            category="t2t",
            modalities=["text"],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
            reference=None,
            date=None,
            domains=None,
            task_subtypes=None,
            license=None,
            annotations_creators=None,
            dialect=None,
            sample_creation=None,
            bibtex_citation=None,
        )

        def load_data(self, num_proc=None, **_):
            rows = [{"id": f"d{i}", "text": t, "title": ""} for i, t in enumerate(TEXTS)]
            asked = [{"id": q, "text": t} for q, t in QUERIES.items()]
            split = {
                "corpus": datasets.Dataset.from_list(rows),
                "queries": datasets.Dataset.from_list(asked),
                "relevant_docs": QRELS,
                "top_ranked": None,
            }
            self.dataset, self.data_loaded = {"default": {"test": split}}, True

    model = mteb_model.wrap(encoder(), "jaxrl/tiny")
    result = mteb.evaluate(model, Tiny(), cache=None, show_progress_bar=False)
    theirs = result.task_results[0].scores["test"][0]

    held = documents.held([f"d{i}" for i in range(30)], TEXTS)
    build.build(tmp_path, held, encoder(), build.IndexConfig())
    source = index.open_index(tmp_path, encoder=encoder())
    find = search.searcher(encoder(), search.finder(source))
    task = judged.Task("tiny", held, QUERIES, QRELS, {}, {})
    names = ("ndcg@10", "map@10", "recall@5", "precision@3")
    ours = {row["metric"]: row["value"] for row in retrieval.evaluate(task, find, names)[0]}
    keys = ("ndcg_at_10", "map_at_10", "recall_at_5", "precision_at_3")
    for name, key in zip(names, keys, strict=True):
        assert ours[name] == pytest.approx(theirs[key], abs=2e-5), name  # mteb rounds to 5 digits


@pytest.mark.peers
def test_names_that_mteb_would_refuse_late_are_refused_early():
    pytest.importorskip("mteb")
    with pytest.raises(ValueError, match="organisation/model"):
        mteb_model.wrap(encoder(), "tiny")
