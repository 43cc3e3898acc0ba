"""The curves: their smoothing against a loop, their intervals, and SVG fit to stand in a page."""

import numpy as np
import pytest

from jaxrl.report import panels, plots
from tests.report import synthetic, synthetic_agents


def test_smooth_equals_a_loop():
    rng = np.random.default_rng(0)
    y, se = rng.normal(size=40), rng.random(40)
    mean, half = plots.smooth(y, se)
    for i in range(40):
        w = [np.exp(-((i - j) ** 2) / (2 * 2.0**2)) for j in range(40)]
        m = sum(a * b for a, b in zip(w, y, strict=True)) / sum(w)
        h = sum((a * s / sum(w)) ** 2 for a, s in zip(w, se, strict=True)) ** 0.5
        assert (mean[i], half[i]) == pytest.approx((m, 1.96 * h))


@pytest.mark.parametrize("known", [True, False])
def test_the_band_covers_a_flat_truth_about_95_times_in_100(known):
    """With recorded errors and with errors guessed from the scatter (which sees a little less)."""
    rng = np.random.default_rng(1)
    hits = []
    for _ in range(200):
        y = rng.normal(3.0, 0.5, 60)
        mean, half = plots.smooth(y, np.full(60, 0.5 if known else np.nan))
        hits.append(np.abs(mean - 3.0) <= half)
    assert (0.93 if known else 0.86) < np.mean(hits) < 0.97


def test_reward_error_counts_the_rollouts_that_could_be_scored():
    row = {
        "reward/std": 0.5,
        "tokens/sampled": 1040.0,
        "length/mean": 8.0,
        "reward/unscorable": 30.0,
    }
    assert plots.standard_errors([row], "reward/mean")[0] == pytest.approx(0.5 / 100**0.5)
    assert np.isnan(plots.standard_errors([row], "policy/kl")[0])
    empty = row | {"length/mean": 0.0, "reward/unscorable": None}
    assert np.isnan(plots.standard_errors([{}, row | {"reward/std": None}], "reward/mean")).all()
    assert np.isfinite(plots.standard_errors([empty], "reward/mean")).sum() <= 1


def rows(n, **columns):
    return [{"step": i} | {name: float(f(i)) for name, f in columns.items()} for i in range(n)]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n, value", [(1, 7.0), (2, -3.0), (3, 0.0), (50, 1e-9)])
def test_a_panel_draws_whatever_was_recorded(n, value):
    """Zeros and negatives have no logarithm; a constant has no range."""
    for panel in (panels.PANELS[0], panels.PANELS[4]):
        made = [{"step": i} | {name: value for name, _ in panel.series} for i in range(n)]
        assert plots.curve_svg(made, panel).startswith("<svg")
        assert plots.change(made, panel.series).count("→") == (n > 1)


def test_nan_updates_leave_a_gap_and_not_an_empty_panel():
    made = rows(20, **{"optim/grad_norm": lambda i: i}) + [{"step": 20, "optim/grad_norm": None}]
    assert plots.curve_svg(made, panels.PANELS[5]).startswith("<svg")
    assert plots.curve_svg([{"step": 0, "optim/grad_norm": None}], panels.PANELS[5]) == ""


def test_a_long_run_draws_a_bounded_number_of_points():
    made = rows(20_000, **{"policy/entropy": lambda i: np.sin(i / 900)})
    assert len(plots.curve_svg(made, panels.PANELS[2])) < 150_000


def test_svg_needs_nothing_outside_the_page_and_takes_its_colours():
    made = rows(
        30, **{"sampler/gap_max": lambda i: 10.0 ** -(i % 4), "sampler/gap_mean": lambda i: 1e-5}
    )
    svg = plots.curve_svg(made, panels.PANELS[4])
    assert "http" not in svg and "#" not in svg.replace("url(#", "").replace('href="#', "")
    assert "var(--series-1)" in svg and "var(--series-2)" in svg and "var(--sans)" in svg
    assert "mathdefault" not in svg  # matplotlib's markup for powers of ten, shown raw


def test_curve_png(tmp_path):
    run = synthetic.write(tmp_path / "run", updates=8, evals=(0, 8))
    path = plots.curve_png(run, tmp_path / "curve.png")
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000
    (run / "metrics.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"reward/mean.*metrics.jsonl"):
        plots.curve_png(run, tmp_path / "other.png")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [1, 2, 900])
def test_endings_are_stacked_and_only_those_that_happened_are_named(n):
    made = [
        {"step": i, "ending/answer": 0.75, "ending/reply": 0.25, "ending/time": 0.0}
        for i in range(n)
    ]
    svg = plots.endings_svg(made + [{"step": n, "ending/answer": None}])
    assert "answer</text>" in svg and "reply</text>" in svg and "time</text>" not in svg
    assert "var(--stage-2)" in svg and len(svg) < 60_000
    assert plots.endings_svg([{"step": 0}]) == ""


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("reward", [0.0, 0.4, -3.0, 70.0])
def test_a_held_out_utility_has_an_axis_of_its_own(reward):
    """It is no percentage, and may be of any size or sign."""
    made = [{"step": s, "reward": reward, "low": reward - 1, "high": reward} for s in (0, 5)]
    svg = plots.held_out_svg(made, "reward", 1)
    assert "%" not in svg.split("<defs>")[-1] and plots._three_digits(reward) in svg


def test_curve_png_of_an_agents_run(tmp_path):
    run = synthetic_agents.write(tmp_path / "run", updates=3)
    assert plots.curve_png(run, tmp_path / "curve.png").stat().st_size > 10_000
