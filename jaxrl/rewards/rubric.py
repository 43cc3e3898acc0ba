"""What a judge looks at: dimensions of the path and of the answer, and how much each half weighs.

ArenaRL's three (arXiv:2601.06487, appendix E); the wording is ours. A half of weight 0 has no
dimensions and is not shown to the judge.
"""

import dataclasses
import math

from jaxrl.rewards.verdicts import half_up

HALVES = ("path", "answer")


@dataclasses.dataclass(frozen=True)
class Half:
    """The path or the answer: what is scored of it."""

    weight: float
    dimensions: tuple[tuple[str, str], ...] = ()  # (key in the verdict, the question it asks)
    rule: str = ""  # of this half alone

    @property
    def names(self):
        return tuple(name for name, _ in self.dimensions)


@dataclasses.dataclass(frozen=True)
class Rubric:
    """One domain's rubric. Every dimension is a whole number from low to high."""

    domain: str  # completes "an expert judge of …"
    path: Half
    answer: Half
    low: int = 0
    high: int = 10

    def __post_init__(self):
        weights = (self.path.weight, self.answer.weight)
        if min(weights) < 0 or not math.isclose(sum(weights), 1):
            raise ValueError(f"weights of path and answer = {weights}: none below 0, sum 1")
        for key in HALVES:
            names = getattr(self, key).names
            if bool(names) != bool(getattr(self, key).weight) or len(set(names)) < len(names):
                raise ValueError(
                    f"{key}.dimensions={names}: distinct names, and none if the weight is 0 alone"
                )
        if self.low >= self.high:
            raise ValueError(f"low={self.low}, high={self.high}: high must be above low")

    @property
    def halves(self):
        """(key, half) of those that are scored."""
        both = (("path", self.path), ("answer", self.answer))
        return tuple((key, half) for key, half in both if half.weight)

    @property
    def criteria(self):
        """The names of all dimensions, in the order of `comparisons.Compared.criteria`."""
        return tuple(f"{key}/{name}" for key, half in self.halves for name in half.names)

    @property
    def neutral(self):
        """The score of both sides where the judge gave none: the middle, 5.0 of 10."""
        return (self.low + self.high) / 2


def combined(rubric, scores):
    """Σ w · round(mean of the half), rounded to one decimal, halves up: arXiv:2601.06487, app. E.

    scores: {"path": its dimensions' scores, "answer": …}, as scored.  returns: in tenths, int.
    """
    means = {key: half_up(sum(scores[key]) / len(scores[key])) for key, _ in rubric.halves}
    return half_up(10 * sum(half.weight * means[key] for key, half in rubric.halves))


def mean(rubric, scores):
    """The same without rounding, in points: rounded, most pointwise scores of a group would tie."""
    return sum(h.weight * sum(scores[key]) / len(scores[key]) for key, h in rubric.halves)


def answer_only(rubric):
    """The rubric of the paper's pointwise baselines: the answer's half alone."""
    return dataclasses.replace(
        rubric, path=Half(0), answer=dataclasses.replace(rubric.answer, weight=1)
    )


RUBRICS = {
    "travel": Rubric(
        "travel planning",
        Half(
            0.6,
            (
                ("breadth", "are all sides of the request looked into (time, place, transport, "
                 "price, rules), without idle or repeated calls?"),
                ("relevance", "does every call serve what the user asked for?"),
                ("detail", "do the calls ask for what a usable plan needs: times, prices, "
                 "distances, opening hours?"),
            ),
            "Judge the tool calls that were made, nothing else: reasoning earns nothing here. Many "
            "navigation calls for single legs and one call with via points are equally good if "
            "they cover all points of the route.",
        ),
        Half(
            0.4,
            (
                ("relevance", "is every wish and limit of the request met, in a fitting order?"),
                ("feasibility", "can the plan be carried out as written, free of clashes in time "
                 "or place?"),
                ("details", "are times, fares, travel times and tips there, and useful?"),
                ("clarity", "is it well ordered and easy to read?"),
            ),
        ),
    ),
    "research": Rubric(
        "open-ended research with a search tool",
        Half(
            0.5,
            (
                ("framework", "does the first step lay out a plan that is ordered, builds up, and "
                 "covers the question?"),
                ("tool_usage", "are the queries pointed, varied, without repetition, and in the "
                 "order of the plan?"),
                ("coverage", "does what was searched for cover the question well enough to "
                 "answer it?"),
            ),
            "Judge how the research was designed and the tools used, not how results were read.",
        ),
        Half(
            0.5,
            (
                ("relevance", "is every question and limit of the user answered?"),
                ("accuracy", "are facts, definitions and conclusions sufficient, right, and free "
                 "of contradiction?"),
                ("depth", "does it analyse, compare and reason rather than list?"),
                ("clarity", "are structure, wording and logic clear enough to use as it is?"),
            ),
        ),
    ),
    "writing": Rubric(
        "open-ended writing",
        Half(
            0.4,
            (
                ("understanding", "does the thinking grasp the task, its readers and its limits?"),
                ("logic", "do its steps follow from one another?"),
                ("richness", "does it bring up enough material and angles?"),
            ),
            "Judge the thinking before the answer, not the answer.",
        ),
        Half(
            0.6,
            (
                ("relevance", "does the text do what was asked, in form, length and subject?"),
                ("content", "is the content sound, rich and original?"),
                ("language", "are wording and style right for the purpose?"),
                ("clarity", "is it well built and easy to follow?"),
            ),
            "Score an answer very low if it repeats itself or begins with a think tag.",
        ),
    ),
}  # fmt: skip
