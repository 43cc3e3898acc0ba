"""UVRB's averages against the rows of the paper's tables."""

import pytest

from jaxrl.evals import retrieval, uvrb

ORDER = ["AVG_D", "AVG_A", "TXT", "CMP", "VIS", "CG", "FG", "LC", "S", "T", "PR"]
PAPER = {  # per task, then the averages, as printed
    "GVE-3B": (
        ".431 .376 .850 .846 .786 .496 .363 .280 .522 .330 .610 .918 .340 .268 .891 .403",
        "0.544 0.571 0.619 0.304 0.647 0.552 0.541 0.764 0.816 0.430 0.377",
    ),
    "GVE-7B": (
        ".464 .433 .865 .847 .794 .539 .398 .302 .542 .413 .680 .948 .343 .280 .899 .415",
        "0.573 0.600 0.657 0.312 0.657 0.587 0.570 0.814 0.821 0.469 0.419",
    ),
    "GME-7B": (
        ".436 .377 .740 .767 .731 .442 .304 .274 .523 .396 .710 .865 .348 .333 .860 .370",
        "0.530 0.562 0.604 0.341 0.615 0.518 0.507 0.788 0.749 0.373 0.398",
    ),
    "Unite-7B": (
        ".439 .386 .798 .804 .753 .472 .351 .279 .555 .440 .620 .871 .278 .230 .883 .448",
        "0.538 0.559 0.609 0.254 0.666 0.541 0.539 0.746 0.779 0.412 0.425",
    ),
}


@pytest.mark.parametrize("model", PAPER)
def test_averages_are_the_papers(model):
    """Pins a plain mean over the tasks of FG or TXT, which have unequal numbers of tasks."""
    tasks, printed = (list(map(float, row.split())) for row in PAPER[model])
    got = uvrb.averages(dict(zip(uvrb.TASKS, tasks, strict=True)))
    for name, value in zip(ORDER, printed, strict=True):
        assert got[name] == pytest.approx(value, abs=1.1e-3), name


def test_metrics_are_known_and_prompts_differ():
    for about in uvrb.TASKS.values():
        retrieval.parse(about.metric)
    assert len({about.prompt for about in uvrb.TASKS.values()}) == 16


def test_scores_that_are_missing_or_unknown_are_named():
    scores = dict.fromkeys(uvrb.TASKS, 0.5)
    assert set(uvrb.averages(scores).values()) == {0.5}
    with pytest.raises(KeyError, match="CMRB"):
        uvrb.averages({name: 0.5 for name in scores if name != "CMRB"})
    with pytest.raises(KeyError, match="MSVD"):
        uvrb.averages(scores | {"MSVD": 0.5})
