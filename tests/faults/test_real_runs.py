"""Every fault of the survival bench, and a few of its kills, on real processes."""

import pytest

from launch.benches import survival, survival_faults, survival_kills, survival_runs

pytestmark = pytest.mark.faults
KILLS = 4  # of all kinds; the bench does 20


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return survival_runs.Lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def uninterrupted(lab):
    return survival.uninterrupted(lab)


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_and_resumed_run_is_the_uninterrupted_one(lab, uninterrupted, number):
    whole, pace = uninterrupted
    moment = survival_kills.moments(KILLS)[number]
    killed = survival_kills.kill_and_resume(lab.run(f"kill_{number}"), moment, pace, whole)
    assert not killed.trouble, killed


@pytest.mark.parametrize("name", survival_faults.FAULTS)
def test_a_fault_is_survived_and_counted(lab, uninterrupted, name):
    finding = survival_faults.FAULTS[name](lab, uninterrupted[0])
    assert not finding.surprise, finding
