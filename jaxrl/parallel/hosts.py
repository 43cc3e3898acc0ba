"""Several processes as one run: how they meet, and what crosses between a host and the mesh.

Every process runs the same program over its own devices, tasks and environments. What is batched
lies over all of them; a host gives and gets its own rows, in the order of the processes.
"""

import jax
import numpy as np
from jax.experimental import multihost_utils


def start(coordinator="", count=0, index=-1):
    """Joins the processes of a run; call it before anything computes.

    Without arguments the cluster is asked: Cloud TPU, GKE, SLURM and Open MPI answer. Else the
    address of process 0 (host:port), how many there are, and which one this is.
    """
    told = bool(coordinator), count > 0, index >= 0
    if any(told) and not (all(told) and index < count):
        raise ValueError(
            f"--coordinator={coordinator!r}, --processes={count}, --process={index}: give all three, "
            "with 0 ≤ process < processes, or none of them on a cluster that knows"
        )
    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # read on the CPU alone
    jax.distributed.initialize(*((coordinator, count, index) if all(told) else ()))


def first():
    """True in the process that writes and speaks."""
    return jax.process_index() == 0


def share(n, what):
    """This process's part of n things, a slice; refuses a number that does not divide."""
    count, index = jax.process_count(), jax.process_index()
    if n % count:
        raise ValueError(f"{what}={n} over {count} processes: give a multiple of {count}")
    return slice(index * n // count, (index + 1) * n // count)


def spread(x, sharding):
    """This process's rows -> the array of all of them, whose first axis `sharding` splits."""
    return jax.make_array_from_process_local_data(sharding, np.asarray(x))


def own(x):
    """An array split over its first axis -> the rows that this process holds, numpy."""
    if x.is_fully_addressable:
        return np.asarray(x)
    parts = {s.index[0].start or 0: s.data for s in x.addressable_shards}
    return np.concatenate([np.asarray(parts[start]) for start in sorted(parts)])


def gathered(x):
    """The rows of all processes, on every one of them, numpy."""
    return np.asarray(multihost_utils.process_allgather(np.asarray(x), tiled=True))


def agree(x, what):
    """Refuses to go on where the processes hold different values, of settings for instance."""
    multihost_utils.assert_equal(x, f"{what} differs between processes: start all of them alike")
