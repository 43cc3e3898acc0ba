"""The notebooks run from a clean kernel, and what is committed shows that they did."""

import os
import pathlib

import nbclient
import nbformat
import pytest
import tiny

from jaxrl.algos.estimators import ESTIMATORS

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
