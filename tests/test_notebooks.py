"""The notebooks run from a clean kernel, and what is committed shows that they did."""

import ast
import os
import pathlib
import re
from xml.etree import ElementTree

import nbclient
import nbformat
import numpy as np
import pytest
import tiny

from jaxrl.algos.estimators import ESTIMATORS
from jaxrl.training.metrics import read_rows

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
read = lambda path: nbformat.read(path, as_version=4)
code = lambda notebook: [cell for cell in notebook.cells if cell.cell_type == "code"]
drawn = lambda cells: sum("image/png" in out.get("data", {}) for c in cells for out in c.outputs)
printed = lambda cell: "".join(out.get("text", "") for out in cell.outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_committed_as_it_ran_with_small_outputs(path):
    cells = code(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert path.stat().st_size < 200_000
    assert not any(str(ROOT) in str(cell.outputs) for cell in cells)


def executed(name, **env):
    """Its code cells after a run; a cell that raises fails the run."""
    notebook = read(ROOT / "notebooks" / name)
    where = {"metadata": {"path": str(ROOT)}}
    client = nbclient.NotebookClient(notebook, timeout=240, kernel_name="python3", resources=where)
    client.execute(env=os.environ | env)
    return code(notebook)


@pytest.fixture(scope="module")
def data_flow():
    return executed("01_data_flow.ipynb")


def test_the_data_flow_draws_the_mask(data_flow):
    assert drawn(data_flow) == 1


def test_in_the_data_flow_sampler_and_learner_agree(data_flow):
    """The gap between the two sets of log-probs is what a reader should look at first."""
    texts = [printed(cell) for cell in data_flow]
    gap = next(text.rsplit(": ", 1)[1] for text in texts if "largest |log-prob" in text)
    assert float(gap) < 1e-4


def test_the_data_flow_ends_in_three_updates(data_flow):
    lines = printed(data_flow[-1]).splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2", "3"]
    assert all("'optim/skipped': 0.0" in line for line in lines)


@pytest.mark.slow
def test_the_advantages_draws_every_estimator():
    cells = executed("02_advantages.ipynb")
    assert drawn(cells) == 6
    assert any(f"{len(ESTIMATORS)} estimators, no NaN" in printed(cell) for cell in cells)


@pytest.mark.slow
def test_the_colab_run_with_a_stand_in_for_its_model(tmp_path):
    """Two updates of a random model: curves, every question twice, and four answers."""
    model = tiny.write(tmp_path / "tiny")
    cells = executed("03_colab_grpo.ipynb", JAXRL_STAND_IN=str(model))
    assert drawn(cells) == 1 and (tmp_path / "tiny-run" / "report.html").exists()
    texts = [printed(cell) for cell in cells]
    assert any("right:" in text and "of 8 before" in text for text in texts)
    assert len(texts[-1].splitlines()) == 4


def test_the_sharding_notebook_draws_the_rules_and_refuses_a_mesh():
    cells = executed("04_sharding.ipynb")
    assert drawn(cells) == 2
    texts = "".join(printed(cell) for cell in cells)
    assert "3 of 14 arrays are shared" in texts and "equal: True" in texts
    assert "mesh.tensor=8 splits 8 ways" in texts


@pytest.fixture(scope="module")
def arena_run(tmp_path_factory):
    """The cells after a run, and the folder that the run in them made."""
    workdir = tmp_path_factory.mktemp("runs") / "arena"
    return executed("05_arena.ipynb", JAXRL_WORKDIR=str(workdir)), workdir


@pytest.fixture(params=["committed", pytest.param("executed", marks=pytest.mark.slow)])
def arena(request):
    """What is committed is looked at in every suite; the run, a minute's work, in the slow one."""
    if request.param == "committed":
        return code(read(ROOT / "notebooks/05_arena.ipynb"))
    return request.getfixturevalue("arena_run")[0]


def said(cells, start):
    """The numbers of the one printed line that begins so."""
    lines = [line for cell in cells for line in printed(cell).splitlines()]
    (line,) = [line for line in lines if line.startswith(start)]
    return [float(x) for x in re.findall(r"[\d.]+\d", line.removeprefix(start))]


def test_the_arena_begins_with_an_expert_whose_utility_is_one(arena):
    assert set(said(arena, "expert  ")) == {1.0}
    assert said(arena, "nothing  ")[0] == 0 < said(arena, "random_tool ")[0] < 1


def test_the_arena_draws_three_figures_and_a_bracket_of_fourteen_matches(arena):
    assert drawn(arena) == 3
    (svg,) = [o.data["image/svg+xml"] for c in arena for o in c.outputs if "image/svg" in str(o)]
    boxes = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}rect")
    assert len(list(boxes)) == said(arena, "14 matches, ")[0] / 2 == 14


def test_in_the_arena_both_orders_add_up_and_advantages_cancel(arena):
    one, other = said(arena, "shown in order"), said(arena, "shown swapped")
    both = said(arena, "both orders")
    assert both == pytest.approx([a + b for a, b in zip(one, other, strict=True)], abs=2e-3)
    calls, *sums = said(arena, "pointwise: ")
    assert calls == 28 and len(sums) == 2 and max(sums) < 1e-4


def test_the_arena_ranks_by_tournaments_better_than_by_one_score(arena):
    text = "".join(map(printed, arena)).partition("at σ = spread: ")[2]
    tau = ast.literal_eval(text.partition("\n")[0])
    for shared in (0, 1):
        at = {name: values[shared] for name, values in tau.items()}
        assert max(at, key=at.get) == "round_robin" and min(at, key=at.get) == "scores once"


@pytest.mark.slow
def test_the_arena_trains_and_reports(arena_run):
    cells, workdir = arena_run
    before, after = said(cells, "imitation: held-out loss ")
    assert after < before
    updates = read_rows(workdir / "rl/metrics.jsonl")[0]
    assert [u["judge/calls"] for u in updates] == [56, 56]
    assert 'class="bracket"' in (workdir / "rl/report.html").read_text()
    assert "sft/report.html rl/report.html" in printed(cells[-1])


@pytest.fixture(params=["committed", pytest.param("executed", marks=pytest.mark.slow)])
def embedders(request, tmp_path):
    """A run needs the packages that carry MiniLM and SQuAD."""
    if request.param == "committed":
        return code(read(ROOT / "notebooks/06_embedders.ipynb"))
    return executed("06_embedders.ipynb", JAXRL_WORKDIR=str(tmp_path / "embed"))


def test_the_embedder_finds_what_minilm_finds_and_keeps_it_in_few_bits(embedders):
    """MiniLM as it came is the same in every run; what training adds in a minute is small."""
    before, after = said(embedders, "as it came "), said(embedders, "trained ")
    assert before == pytest.approx([0.837, 0.759, 0.660, 0.761], abs=2e-3)
    assert np.abs(np.subtract(after, before)).max() < 0.05 and after[0] > after[1] > after[2]
    assert said(embedders, "BM25 ") == pytest.approx([0.897], abs=2e-3)
    assert drawn(embedders) == 2
