"""Every row once, in few shapes, with little padding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrl.retrieval import batches


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 700), max_size=60), st.integers(1, 2000))
def test_every_row_is_in_one_batch_as_it_was(lengths, budget):
    rows = [[i % 50 + 1] * n for i, n in enumerate(lengths)]
    seen = []
    for batch in batches.batches(rows, 0, 700, budget):
        B, W = batch.sequences.tokens.shape
        assert B * W <= max(budget, W) and len(batch.index) <= B
        assert batch.sequences.valid.any(1).all()  # no row computes NaN
        for b, i in enumerate(batch.index):
            assert batch.sequences.tokens[b][batch.sequences.valid[b]].tolist() == rows[i]
            seen.append(i)
    assert sorted(seen) == list(range(len(rows)))


def test_a_width_has_one_shape_and_only_the_last_batch_is_smaller():
    rng = np.random.default_rng(0)
    rows = [[1] * n for n in rng.integers(1, 256, 900)]
    made = list(batches.batches(rows, 0, 256, 2048))
    shapes = {batch.sequences.tokens.shape for batch in made}
    assert len({batch.sequences.tokens.shape[1] for batch in made[:-1]}) >= len(shapes) - 1
    assert all(len(batch.index) == len(batch.sequences.tokens) for batch in made[:-1])
    padded = sum(batch.sequences.tokens.size for batch in made)
    assert sum(map(len, rows)) / padded > 0.92


@pytest.mark.parametrize("left, rows", [(1, 1), (2, 2), (3, 4), (7, 7), (13, 13), (14, 25)])
def test_what_is_left_over_is_a_batch_of_few_shapes(left, rows):
    """50 rows fit: 50, 25, 13, 7, 4, 2 and 1 are the sizes a last batch can have."""
    (batch,) = batches.batches([[1] * 20] * left, 0, 64, 1000)
    assert batch.sequences.tokens.shape == (rows, 20)


@pytest.mark.parametrize(
    "length, width",
    [(1, 8), (8, 8), (9, 10), (17, 18), (64, 64), (65, 72), (257, 288), (5000, 5120)],
)
def test_the_ladder(length, width):
    assert batches.rung(length, 10_000) == width
    assert batches.rung(length, length) == length
