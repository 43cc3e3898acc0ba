"""Options of a loss: filled from its table, refused where it does not take them."""

import dataclasses

import pytest

from jaxrl.algos import options

OPTIONS = {"plain": {"width": 2.0}, "fitted": {"width": 3.0, "fit": "none"}}
BOUNDS = {"none": {}, "high": {"top": 5.0}}
CHECKS = {"width": (lambda x: x > 0, "more than 0"), "fit": (lambda x: x in BOUNDS, "none or high")}


@dataclasses.dataclass(frozen=True)
class Config:
    name: str = "plain"
    width: float | None = None
    fit: str | None = None
    top: float | None = None
    other: int = 7  # no option of a loss: left alone

    def __post_init__(self):
        options.fill(self, OPTIONS, CHECKS, further=("fit", BOUNDS))


@pytest.mark.parametrize(
    "given, want",
    [
        ({}, (2.0, None, None)),
        ({"name": "fitted"}, (3.0, "none", None)),
        ({"name": "fitted", "fit": "high"}, (3.0, "high", 5.0)),
        ({"name": "fitted", "fit": "high", "top": 1.0, "width": 4.0}, (4.0, "high", 1.0)),
    ],
)
def test_what_is_left_out_becomes_the_default_of_that_loss(given, want):
    c = Config(**given)
    assert (c.width, c.fit, c.top, c.other) == (*want, 7)


@pytest.mark.parametrize(
    "given, says",
    [
        ({"name": "x"}, r"loss.name='x' is unknown: give one of plain, fitted"),
        ({"fit": "high"}, r"loss.fit='high': loss.name='plain' does not take it; leave it out"),
        ({"top": 1.0}, r"loss.top=1.0: loss.name='plain' does not take it"),
        ({"name": "fitted", "top": 1.0}, r"loss.top=1.0: loss.fit='none' does not take it"),
        ({"width": 0.0}, r"loss.width=0.0: give more than 0"),
        ({"name": "fitted", "fit": "low"}, r"loss.fit='low': give none or high"),
    ],
)
def test_what_cannot_be_is_refused_by_its_key(given, says):
    with pytest.raises((KeyError, ValueError), match=says):
        Config(**given)
