"""The report as text: complete, self-contained, escaped, and plain about what is missing."""

import json
import math
import re
import subprocess
import sys
import time

import pytest

from jaxrl.report import page
from tests.report import synthetic


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return synthetic.write(tmp_path_factory.mktemp("runs") / "demo")


@pytest.fixture(scope="module")
def html(run):
    return page.write(run).read_text()


def words(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", html[html.index("<main>") :]))


def test_the_headline_states_both_accuracies_with_intervals(run, html):
    first, last = [json.loads(line) for line in (run / "eval.jsonl").read_text().splitlines()]
    for row in (first, last):
        assert f"{100 * row['accuracy']:.1f} % [{100 * row['low']:.1f}, " in words(html)
    assert f"{100 * (last['accuracy'] - first['accuracy']):+.1f} points" in words(html)


def test_hostile_text_is_shown_and_never_markup(html):
    """In prompts, responses, tokens and config alike."""
    assert "<script" not in html and "<img" not in html
    assert html.count("&lt;script&gt;") >= 3


def test_the_file_names_nothing_outside_itself(html):
    assert not re.search(r"https?:|//\w|@import|<link|<iframe", html)
    assert not re.search(r"(src|href)=\"(?!#)", html)
    assert "default-src 'none'" in html


def test_ids_are_unique_across_the_drawings(html):
    """Inline SVG shares the page's ids: a doubled one clips a curve by its neighbour's frame."""
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) > 50 and len(ids) == len(set(ids))


def test_every_section_is_there(html):
    for title in ("Curves", "before and after", "Best and worst", "Counters", "Time by stage"):
        assert title in html
    assert html.count("<svg") == 9
    assert "<details><summary>Resolved config" in html and "smollm2-135m-instruct" in html


def test_counters_are_sums_over_updates(run):
    metrics = page.load(run).metrics
    total = sum(row["length/truncated"] for row in metrics)
    found = {c["title"]: c for c in page.counters(metrics)}
    assert found["Truncated rollouts"]["total"] == total
    assert (found["Skipped updates"]["total"], found["Skipped updates"]["updates"]) == (1, 1)


def test_stages_share_out_the_whole_time(run):
    metrics = page.load(run).metrics
    stages = page.stages(metrics)
    assert sum(s["share"] for s in stages) == pytest.approx(1)
    assert stages[-1]["name"] == "other" and stages[-1]["mean"] == pytest.approx(0.15)


MISSING = {
    "nothing": ((), "Nothing to draw: the run has finished no update."),
    "no evaluation": (("metrics", "rollouts"), "No held-out evaluation yet"),
    "no rollouts": (("metrics", "eval"), "No rollout was kept"),
    "rollouts alone": (("rollouts",), "No counter was recorded."),
    "evaluations alone": (("eval",), "No time was recorded."),
}


@pytest.mark.parametrize("kept, sentence", MISSING.values(), ids=MISSING)
def test_a_missing_piece_is_one_sentence_and_no_crash(run, tmp_path, kept, sentence):
    for name in kept:
        (tmp_path / f"{name}.jsonl").write_bytes((run / f"{name}.jsonl").read_bytes())
    html = page.write(tmp_path).read_text()
    assert sentence in html and "The run has written no config.json." in html


@pytest.mark.filterwarnings("error")  # matplotlib warns where a drawing has collapsed
@pytest.mark.parametrize("updates, evals", [(1, (0,)), (2, (0, 1, 2))])
def test_the_first_updates_already_make_a_page(tmp_path, updates, evals):
    html = page.write(synthetic.write(tmp_path / "run", updates, evals)).read_text()
    assert ("not evaluated again yet" in html) == (len(evals) == 1)
    assert html.count("<svg") == 8 + (len(evals) > 1)


def test_null_metrics_and_rewards_are_gaps(tmp_path):
    """A run whose every rollout was unscorable writes null where a mean would stand."""
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": 0, "reward/mean": null, "time/total": null}\n'
    )
    row = synthetic.rollout(synthetic.np.random.default_rng(0), 0, 1, 0.5) | {"reward": None}
    (tmp_path / "rollouts.jsonl").write_text(json.dumps(row) + "\n")
    html = page.write(tmp_path).read_text()
    assert "No other scored rollout to show as best." in html and "Nothing to draw" in html


def test_broken_lines_are_left_out_and_counted(run, tmp_path):
    text = (run / "metrics.jsonl").read_text()
    (tmp_path / "metrics.jsonl").write_text(text + '{"step": 50, "rewa')
    assert "1 broken line" in page.write(tmp_path).read_text()


def test_lone_surrogates_of_a_split_emoji_do_not_stop_the_report(tmp_path):
    row = synthetic.rollout(synthetic.np.random.default_rng(0), 0, 1, 0.5)
    row |= {"pieces": ["\ud83d", "\x00"], "logp": [-1.0, -math.inf], "reward": 1.0}
    line = json.dumps(row).replace("-Infinity", "null")
    (tmp_path / "rollouts.jsonl").write_text(line + "\n")
    assert "Best 1" in page.write(tmp_path).read_text(encoding="utf-8")


def test_fifty_updates_render_within_three_seconds(run):
    start = time.process_time()
    page.write(run)
    assert time.process_time() - start < 3


def test_a_run_that_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match=r"run '/nope' is no directory: name one"):
        page.write("/nope")


def test_the_launcher_says_where_the_page_and_the_curve_are(run, tmp_path):
    command = [sys.executable, "-m", "launch.report", f"--run={run}", f"--curve={tmp_path}/c.png"]
    out = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert out.splitlines() == [str(run / "report.html"), f"{tmp_path}/c.png"]
