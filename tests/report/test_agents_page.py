"""The report of an agent's run as text: what is on it, escaped, and bounded in size."""

import json
import re

import pytest

from jaxrl.report import episodes, page
from tests.report import synthetic_agents


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return synthetic_agents.write(tmp_path_factory.mktemp("runs") / "trip")


@pytest.fixture(scope="module")
def html(run):
    return page.write(run).read_text()


def words(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", html[html.index("<main>") :]))


def test_the_headline_is_the_utility_before_and_after_with_intervals(run, html):
    first, last = [json.loads(line) for line in (run / "eval.jsonl").read_text().splitlines()]
    for e in (first, last):
        assert f"{e['reward']:.3f} [{e['low']:.3f}, {e['high']:.3f}]" in words(html)
    assert "answered 20 → 35" in words(html)
    assert f"{last['reward'] - first['reward']:+.3f}" in words(html)


def test_its_panels_are_there_and_their_ids_unique(html):
    for title in ("Endings", "Held-out utility", "Turns", "Position bias", "Ties", "Calls in vain"):
        assert f"<h3>{title}</h3>" in html
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) > 50 and len(ids) == len(set(ids))


def test_every_label_has_its_button_and_every_button_its_panel(html):
    """CSS alone shows the panel of the chosen button, by counting: one missing shifts them all."""
    ids = set(re.findall(r'<input[^>]* id="([^"]+)"', html))
    assert set(re.findall(r'for="([^"]+)"', html)) == ids
    members = html.count('type="radio" name="member-4"')  # and one that shows all
    section = html[html.index('aria-label="Update 4"') :]
    assert section.split("</section>")[0].count("<article") == members == 8


def test_judge_and_tool_counters_are_summed(run, html):
    found = {c["title"]: c["total"] for c in page.counters(page.load(run).metrics)}
    assert found["Ties"] == sum(r["judge/ties"] for r in page.load(run).metrics)
    assert {"Unreadable tool calls", "Refused tool calls", "Unread judgements"} < found.keys()
    assert "judge calls140" in words(html)


def test_hostile_text_is_shown_and_never_markup(html):
    assert "<script" not in html and "<img" not in html
    assert html.count("&lt;script&gt;") > 3
    assert "\u202e" not in html and "abc‹U+202E›gnp.exe" in html
    assert not re.search(r"https?:|//\w|@import|<link|<iframe", html)


def test_a_long_observation_is_cut_and_tells_its_length(html):
    assert html.count("FAR ") < 60_000
    assert "99,999 characters" in html and "characters left out" in html


@pytest.mark.parametrize("topology", ["anchor", "swiss", "round_robin", "double_elimination"])
def test_other_topologies_make_a_page(tmp_path, topology):
    synthetic_agents.write(tmp_path, topology, updates=1, group=4)
    (tmp_path / "metrics.jsonl").unlink()  # no curves: they take the time
    html = page.write(tmp_path).read_text()
    assert topology.replace("_", " ").capitalize() in html
    assert ('class="met"' in html) == (topology == "round_robin")
    assert ('class="bracket"' in html) == (topology != "round_robin")


def test_the_largest_groups_of_endless_episodes_stay_within_six_megabytes(tmp_path):
    n, long = 5000, "x<" * 50_000
    row = synthetic_agents.episode(0, 0, 0, 0.5, 0.0, 2)
    call = {"name": long, "arguments": {long: long}, "id": ""}
    talk = [{"role": "assistant", "content": long, "calls": [call] * 5} for _ in range(30)]
    row |= {"messages": talk, "pieces": ["<"] * n, "logp": [-1.0] * n, "chosen": [1] * n}
    row |= {"turn": [k // 10 for k in range(n)]}
    every = [row | {"step": s, "task": s} for s in range(3) for _ in range(episodes.MEMBERS)]
    run = page.load(tmp_path)
    html = page.render(page.dataclasses.replace(run, rollouts=every))
    assert len(html.encode()) < 6_000_000


def test_a_run_without_tournaments_shows_its_groups(run, tmp_path):
    (tmp_path / "rollouts.jsonl").write_bytes((run / "rollouts.jsonl").read_bytes())
    html = page.write(tmp_path).read_text()
    assert "No tournament was played." in html and "side by side" in html


def test_a_run_whose_rollouts_were_not_kept_shows_its_brackets(run, tmp_path):
    (tmp_path / "tournaments.jsonl").write_bytes((run / "tournaments.jsonl").read_bytes())
    html = page.write(tmp_path).read_text()
    assert 'class="bracket"' in html and "<article" not in html
