"""Benches of several whole runs: what they compile, what they print, and intervals over seeds."""

import contextlib

import jax
import numpy as np

T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # Student's t by the number of seeds


def interval(values):
    """(mean, half-width of Student's 95 % interval) over the first axis, the seeds."""
    values = np.asarray(values)
    n = len(values)
    half = T_95[n] * values.std(0, ddof=1) / n**0.5
    return values.mean(0), half


@contextlib.contextmanager
def compiled_once(folder):
    """All runs have the same programs: later ones read what the first has compiled."""
    settings = {
        "jax_compilation_cache_dir": folder,
        "jax_persistent_cache_min_compile_time_secs": 0.5,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


@contextlib.contextmanager
def quiet(path):
    """What the runs print goes to a file: the bench has lines of its own."""
    with path.open("a") as log, contextlib.redirect_stdout(log):
        yield
