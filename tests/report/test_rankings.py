"""Held-out retrieval in the report: the figures, the rankings chosen, and nothing as markup."""

import json
import re

import pytest

from jaxrl.report import page, rankings
from tests.report import synthetic, synthetic_retrieval


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    folder = synthetic_retrieval.write(tmp_path_factory.mktemp("runs") / "demo")
    return page.write(folder).read_text()


def words(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", html[html.index("<main>") :]))


def test_the_headline_states_every_figure_before_and_after(html):
    text = words(html)
    assert (
        "nDCG@10 on 300 held-out queries (squad) 0.500 → 0.820 before → after 40 updates; " in text
    )
    assert "; MRR@10 0.450 → 0.770; recall@100 0.600 → 0.920." in text


def test_each_metric_is_a_chart_with_a_line_a_set(html):
    for title in rankings.METRICS.values():
        drawn = re.search(
            rf'<svg role="img" aria-label="Held-out {title} \d"(.*?)</svg>', html, re.S
        )
        assert "squad" in drawn[1] and "wiki" in drawn[1]
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_rankings_are_those_that_moved_most_up_or_down():
    """Showing only what improved would flatter every run."""
    rows = [synthetic_retrieval.evaluation("squad", step) for step in (0, 20, 40)]
    found = rankings.shown(rows)
    queries = [one["query"] for one in found["rankings"]]
    assert found["compared"] == 8 and len(queries) == rankings.QUERIES
    assert "why salt?" in queries and "why tides?" in queries and "why granite?" not in queries
    fallen = found["rankings"][queries.index("why tides?")]["sides"]
    marks = {side: [one["relevant"] for one in documents] for side, documents in fallen.items()}
    assert marks == {"Before": [True] + 4 * [False], "After": 3 * [False] + [True, False]}


def test_a_ranking_marks_the_relevant_and_cuts_what_is_long(html):
    text = words(html)
    assert "Held-out queries, before and after" in text
    assert "squad: of 8 kept queries, 6 whose first relevant document moved most" in text
    assert html.count('<li class="relevant">') == html.count("✓ relevant") >= 12
    assert "characters left out" in text and "word " * 60 not in text


def test_hostile_names_queries_and_documents_are_shown_and_never_markup(html):
    assert "<script" not in html and "<img" not in html and "default-src 'none'" in html
    assert html.count("&lt;script&gt;") >= 3


def test_a_run_of_retrieval_alone_does_not_complain_of_missing_rollouts(html):
    for sentence in ("No rollout was kept", "No held-out evaluation", "Held-out tasks"):
        assert sentence not in html


def test_one_evaluation_is_shown_as_it_stands(tmp_path):
    folder = synthetic_retrieval.write(tmp_path / "run", steps=(0,))
    text = words(page.write(folder).read_text())
    assert "(squad) 0.500 after 0 updates; not evaluated again yet; MRR@10 0.450" in text
    assert "6 of 8 kept queries, after 0 updates" in text and "Found" in text
    assert "Held-out nDCG@10" not in text


def test_it_stands_beside_held_out_tasks_and_an_empty_set_is_left_out(tmp_path):
    folder = synthetic.write(tmp_path / "run", updates=2, evals=(0, 2), rollouts_each=1)
    empty = dict.fromkeys(rankings.METRICS) | {"step": 0, "name": "none", "n": 0, "examples": []}
    rows = [synthetic_retrieval.evaluation("squad", 0), empty]
    with (folder / "eval.jsonl").open("a") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)
    text = words(page.write(folder).read_text())
    assert "Held-out queries, before" in text and "Held-out tasks, before and after" in text
    assert "(none)" not in text and "Best and worst" in text


def test_queries_that_changed_between_evaluations_are_said_to_be_missing():
    before, after = (synthetic_retrieval.evaluation("squad", step) for step in (0, 40))
    after["examples"] = [after["examples"][0] | {"query": "another"}]
    assert rankings.shown([before, after])["rankings"] == []
