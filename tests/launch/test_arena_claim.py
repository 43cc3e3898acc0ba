"""The claim's bench: every method is a config of its own, and what is drawn is what was run."""

import numpy as np
import pytest

from launch.benches import arena_claim as bench


@pytest.mark.parametrize("method", bench.METHODS)
def test_methods_differ_in_what_they_ask_the_judge_alone(method):
    """The same start, noise, batch and optimizer for all; a misspelt key would raise."""
    c, plain = (
        bench._config("start", changes, 0.2, 1).to_dict() for changes in (bench.METHODS[method], {})
    )
    asks = {"reward": ("name", "topology"), "advantage": ("name",)}
    for section, keys in asks.items():
        for key in keys:
            del c[section][key], plain[section][key]
    assert c == plain and c["reward"]["sigma"] == 0.2 and c["seed"] == 1


def test_scores_have_the_judge_calls_of_the_tournament_they_are_compared_with():
    assert bench.calls("pointwise") == bench.calls("single_elimination") == 28
    assert (bench.calls("round_robin"), bench.calls("utility itself")) == (56, 0)


def test_the_interval_is_students_over_seeds():
    """Three seeds that end at 1, 2 and 3: 2 ± 4.303 / √3."""
    updates, mean, half = bench.interval([[(0, 0.5), (8, end)] for end in (1.0, 2.0, 3.0)])
    assert updates.tolist() == [0, 8] and mean.tolist() == [0.5, 2]
    assert half == pytest.approx([0, 4.303 / np.sqrt(3)], rel=1e-3)


def test_a_peer_is_refused():
    with pytest.raises(ValueError, match="--peer=verl"):
        next(bench.run("verl"))
