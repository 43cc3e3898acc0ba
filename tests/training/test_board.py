"""TensorBoard's file where there is no room; what it holds is tested with its Writer."""

import resource

import pytest

from jaxrl.training.board import Board


def test_a_full_disk_is_an_error_and_not_a_hang(tmp_path):
    """tensorboardX's thread died of it in silence, and the queue before it filled up for ever."""
    board = Board(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            for step in range(100):
                board.scalars(step, {"reward/mean": 0.5})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert 10 < step < 99
    board.close()
