"""What a batch of Signals must look like before an estimator computes anything from it."""

import dataclasses

import jax
import numpy as np

from jaxrl.records import Signals

# The axes of each field: B rows, K reward dimensions, R tokens.
AXES = {"parts": "BK"} | dict.fromkeys(
    ("mask", "turn", "token_rewards", "values", "log_ratio", "logp", "squares"), "BR"
)
IDS = {"group": "num_groups", "env": "num_envs", "state": "num_states"}


def check_fields(signals, needs, name):
    """Refuses a missing field or a wrong shape; reads no values, so it runs under jit too."""
    missing = [field for field in needs if getattr(signals, field) is None]
    if missing:
        raise ValueError(
            f"advantage.name={name!r} needs Signals.{', Signals.'.join(missing)}, which "
            f"{'are' if len(missing) > 1 else 'is'} None: give it, or choose another estimator"
        )
    known = {"B": len(signals.rewards)}
    for field in (f.name for f in dataclasses.fields(Signals)):
        axes, value = AXES.get(field, "B"), getattr(signals, field)
        if value is None or field in IDS.values():
            continue
        shape = np.shape(value)
        want = [known.setdefault(axis, size) for axis, size in zip(axes, shape, strict=False)]
        if len(shape) != len(axes) or list(shape) != want:
            raise ValueError(
                f"Signals.{field} has shape {shape}: give [{', '.join(axes)}], with "
                f"{', '.join(f'{axis} = {known[axis]}' for axis in axes if axis in known)}"
            )


def check_ids(signals):
    """Refuses ids out of range, which a segment sum would drop without a word. Host arrays."""
    for field, count in IDS.items():
        ids, n = getattr(signals, field), getattr(signals, count)
        if ids is None:
            continue
        ids = np.asarray(ids)
        if not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(f"Signals.{field} is {ids.dtype}: give integers (see dense_ids)")
        if ids.size and not 0 <= ids.min() <= ids.max() < n:
            raise ValueError(
                f"Signals.{field} holds ids from {ids.min()} to {ids.max()}, but {count}={n}: "
                "give ids in [0, n), as dense_ids makes them"
            )


def traced(signals):
    """True under jit, where values cannot be looked at."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(signals))


def check_singletons(signals):
    """Refuses a batch in which a group has one scorable reward."""
    scorable = np.isfinite(np.asarray(signals.rewards))
    if signals.valid is not None:
        scorable &= np.asarray(signals.valid)
    counts = np.bincount(np.asarray(signals.group)[scorable], minlength=signals.num_groups)
    if (counts == 1).any():
        raise ValueError(
            f"advantage.singleton='error': groups {np.flatnonzero(counts == 1).tolist()} have one "
            "scorable reward; sample more, or set advantage.singleton to zero or raw"
        )
