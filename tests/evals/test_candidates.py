"""hit@1 over candidate lists: the arg max by hand, ties against us, bad lines by name."""

import json

import numpy as np
import pytest
import tiny_encoder

from jaxrl.evals import candidates
from jaxrl.evals.candidates import Choice

CHOICES = [
    Choice("red house", ["red house big", "blue car"], [0]),
    Choice("red house", ["blue car", "red house big"], [0]),
    Choice("blue car", ["red", "blue car x", "blue car x"], [1, 2]),
    Choice("boat", ["red", "car", "boat boat", "blue"], [1, 2]),
]


def test_a_hit_is_a_right_candidate_at_the_top():
    row = candidates.evaluate("tiny", CHOICES, tiny_encoder.make())
    best = []
    for choice in CHOICES:
        scores = tiny_encoder.rows(choice.candidates) @ tiny_encoder.rows([choice.query])[0]
        best.append(int(np.argmax(scores)) in choice.positives)
    assert best == [True, False, True, True]
    assert (row["task"], row["metric"], row["n"], row["value"]) == ("tiny", "hit@1", 4, 0.75)
    assert 0.2 < row["low"] < 0.75 < row["high"] < 1


def test_an_encoder_that_tells_nothing_apart_hits_nothing():
    """With the positive first in every list, an arg max gave such an encoder 100 %."""
    same = lambda texts: tiny_encoder.rows(["same"] * len(texts))
    row = candidates.evaluate("tiny", CHOICES[:2], tiny_encoder.make(documents=same))
    assert row["value"] == 0


def test_rows_that_are_not_finite_are_refused():
    nan = lambda texts: np.full((len(texts), tiny_encoder.DIM), np.nan)
    with pytest.raises(ValueError, match="not finite"):
        candidates.evaluate("tiny", CHOICES, tiny_encoder.make(documents=nan))


def test_files_are_read_and_broken_lines_named(tmp_path):
    file = tmp_path / "choices.jsonl"
    file.write_text("\n".join(json.dumps(c._asdict()) for c in CHOICES))
    assert candidates.read(file) == CHOICES
    good = CHOICES[0]._asdict()
    bad = [{"query": " "}, {"candidates": []}, {"candidates": "ab"}]
    bad += [{"positives": []}, {"positives": [2]}, {"positives": [True]}]
    file.write_text("\n".join(json.dumps(good | change) for change in bad) + "\n{")
    with pytest.raises(ValueError) as caught:
        candidates.read(file)
    told = str(caught.value)
    assert all(f"line {n}: " in told for n in range(1, 8)) and "7 broken lines" in told
    file.write_text("")
    with pytest.raises(ValueError, match="holds no line"):
        candidates.read(file)
