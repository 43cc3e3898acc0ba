"""Several processes as one run: how they meet, which rows each one holds, and what crosses.

Every process runs the same program over its own devices, tasks and environments. Arrays on the mesh
are of all processes; a host gives and gets the rows that its own devices hold. Under a mesh each
jitted call is one program of all processes: they must make the same calls in the same order.
"""

import dataclasses
import json
import os
import sys

import jax
import numpy as np
from jax.experimental import multihost_utils

SMALLEST = 1024  # bytes of a message: longer ones double it, so that few programs are compiled


@dataclasses.dataclass(frozen=True)
class Share:
    """Which rows of a batch each process holds; several hold the same ones where a mesh axis other
    than the batch's crosses processes."""

    held: np.ndarray  # [processes, rows]: numbers in the batch, ascending
    total: int

    @property
    def mine(self):
        """The numbers of this process's rows, ascending."""
        return self.held[jax.process_index()]

    @property
    def copies(self):
        """How many processes hold each row."""
        return self.held.size // self.total


def start(coordinator="", processes=0, process=-1, *, patience=100):
    """Joins the processes of a run; call it before anything computes.

    Without addresses the cluster is asked: Cloud TPU, GKE, SLURM and Open MPI answer. Else the
    address of process 0 (host:port), how many there are, and which one this is. patience: seconds
    without a sign of life after which a process counts as dead and jax ends all others.
    """
    told = bool(coordinator), processes > 0, process >= 0
    if any(told) and not (all(told) and process < processes):
        raise ValueError(
            f"--coordinator={coordinator!r}, --processes={processes}, --process={process}: give "
            "all three, with 0 ≤ process < processes, or --distributed on a cluster that knows"
        )
    if patience < 1:
        raise ValueError(f"--patience={patience}: give at least 1 second")
    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # read on the CPU alone
    jax.config.update("jax_enable_preemption_service", False)  # it would swallow SIGTERM
    where = (coordinator, processes, process) if all(told) else ()
    jax.distributed.initialize(*where, heartbeat_timeout_seconds=patience)


def leave(status):
    """Ends this process at once: an orderly end would wait for the others, and they for it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def count():
    """How many processes the run has."""
    return jax.process_count()


def first():
    """True in the process that writes and speaks."""
    return jax.process_index() == 0


def whole(n):
    """The Share of n rows that all processes hold."""
    return Share(np.broadcast_to(np.arange(n), (count(), n)), n)


def share(sharding, n):
    """The Share of n rows, split as `sharding` splits the first axis of an array."""
    spans = {}
    for device, (span, *_) in sharding.devices_indices_map((n,)).items():
        spans.setdefault(device.process_index, set()).add(span.indices(n)[:2])
    held = [[i for span in sorted(spans[p]) for i in range(*span)] for p in sorted(spans)]
    if len({len(rows) for rows in held}) > 1:
        raise ValueError(
            f"the mesh gives {[len(rows) for rows in held]} of {n} rows to the processes: choose "
            "mesh.data and mesh.fsdp so that every process holds as many"
        )
    return Share(np.array(held), n)


def times(share, group, batches=1):
    """The Share of `group` rows for each one of `share`, of several batches one after another."""
    rows = np.arange(batches)[:, None] * share.total + share.held[:, None]
    held = rows[..., None] * group + np.arange(group)
    return Share(held.reshape(len(held), -1), share.total * group * batches)


def spread(x, sharding):
    """This process's rows -> the array of all processes' rows; `sharding` splits one axis."""
    return jax.make_array_from_process_local_data(sharding, np.asarray(x))


def own(x, axis=0):
    """An array that is split along one axis, or not at all -> what this process holds, numpy."""
    if x.is_fully_addressable:
        return np.asarray(x)
    parts = {shard.index[axis].start or 0: shard.data for shard in x.addressable_shards}
    if np.delete(x.shape, axis).tolist() != np.delete(parts[min(parts)].shape, axis).tolist():
        raise ValueError(f"{x.sharding} splits another axis than {axis}: pin the output's sharding")
    return np.concatenate([np.asarray(parts[start]) for start in sorted(parts)], axis)


def everywhere(x):
    """An array on the devices of all processes -> the whole of it in each, numpy."""
    if x.is_fully_addressable:
        return np.asarray(x)
    return multihost_utils.process_allgather(x, tiled=True)


def gathered(x):
    """An array of one shape in all processes -> [processes, ...] of all, bit for bit, numpy."""
    x = np.ascontiguousarray(x)
    if count() == 1:
        return x[None]
    flags = x.dtype == bool
    sent = np.packbits(x) if flags else x.reshape(-1).view(np.uint8)  # jax would cut 64 bits
    got = multihost_utils.process_allgather(sent)
    got = np.unpackbits(got, axis=1, count=x.size).astype(bool) if flags else got.view(x.dtype)
    return got.reshape(count(), *x.shape)


def everyone(x, share):
    """This process's rows of a batch -> all of them, in order; of copies the first process's."""
    out = np.empty((share.total, *x.shape[1:]), x.dtype)
    for rows, numbers in zip(gathered(x)[::-1], share.held[::-1], strict=True):
        out[numbers] = rows
    return out


def merged(rows):
    """{number: JSON value} of every process -> the union, by number; of copies the first one's."""
    if count() == 1:
        return dict(sorted(rows.items()))
    text = np.frombuffer(json.dumps(list(rows.items())).encode(), np.uint8)
    lengths = gathered(np.array([len(text)]))[:, 0]
    room = max(SMALLEST, 1 << int(lengths.max() - 1).bit_length())
    texts = gathered(np.pad(text, (0, room - len(text))))
    parts = [json.loads(t[:n].tobytes()) for t, n in zip(texts, lengths, strict=True)]
    return dict(sorted((k, v) for part in reversed(parts) for k, v in dict(part).items()))


def largest(n):
    """The largest of the processes' whole numbers."""
    return int(gathered(np.array([n], np.int64)).max())


def meet():
    """Returns once all processes are here."""
    largest(0)


def agree(text, what):
    """Refuses to go on, in all processes, where they hold different texts."""
    found = merged({jax.process_index(): text})
    different = [p for p in found if found[p] != found[0]]
    if different:
        raise ValueError(
            f"{what} differs between processes 0 and {different[0]}: start all of them alike"
        )
