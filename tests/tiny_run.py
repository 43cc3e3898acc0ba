"""tiny.config as a file for launch.train: --config=tests/tiny_run.py:CHECKPOINT."""

import tiny


def get_config(checkpoint):
    """Every update is saved."""
    return tiny.config(checkpoint, **{"checkpoint.every": 1})
