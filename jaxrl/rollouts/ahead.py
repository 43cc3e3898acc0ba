"""Batches of rollouts that are under way while the learner works on an earlier one.

All device programs are started by the calling thread, so their order is the same in every run and
in every process; one background thread waits for their tokens and has them scored. Batch i is
sampled with the weights of update max(0, i − S), S = `rollout.max_staleness`, just before that
update runs; so a run is a function of its config, at S = 0 the synchronous one.

What is under way is saved with the checkpoint, scored, and not sampled again: that would need the
weights of S earlier versions. It was started before the update that is saved, so devices that run
programs in order have sampled it by then, and only its scores are waited for.
"""

import base64
import collections
import io
import json
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from jaxrl.records import Trajectory


class Ahead:
    """The bounded queue; a context manager, and the stream of tasks that a `Session` saves.

    tasks: the iterator of task indices, whose place is saved too. staleness: S.
    """

    def __init__(self, tasks, staleness):
        self._tasks, self._staleness = tasks, staleness
        self._batches = collections.OrderedDict()  # number -> Future of a Trajectory, oldest first
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rollouts")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._thread.shutdown(wait=True, cancel_futures=True)

    def fill(self, i, launch):
        """Starts what is missing of the batches i … i + S. launch(j) -> a function that waits for
        batch j; it is called at once, and what it returns in the background."""
        for j in range(i, i + self._staleness + 1):
            if j not in self._batches:
                self._batches[j] = self._thread.submit(launch(j))

    def take(self, i):
        """Batch i; raises what its sampling or scoring has raised."""
        return self._batches.pop(i).result()

    def get_state(self):
        """JSON; waits for all that is under way."""
        if not self._staleness:
            return self._tasks.get_state()
        waiting = {str(j): _packed(batch.result()) for j, batch in self._batches.items()}
        return {"tasks": self._tasks.get_state(), "rollouts": waiting}

    def set_state(self, state):
        """The inverse of `get_state`, before the first `fill`."""
        if not self._staleness:
            self._tasks.set_state(state)
            return
        self._tasks.set_state(state["tasks"])
        for j, text in state["rollouts"].items():
            self._batches[int(j)] = done = Future()
            done.set_result(_unpacked(text))


def _packed(traj):
    """A Trajectory as text; exact."""
    given = {k: v for k, v in vars(traj).items() if isinstance(v, np.ndarray)}
    texts = np.frombuffer(json.dumps(traj.texts).encode(), np.uint8)
    file = io.BytesIO()
    np.savez_compressed(file, **given | {"texts": texts, "step": traj.step})
    return base64.b64encode(file.getvalue()).decode()


def _unpacked(text):
    with np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False) as file:
        given = {name: file[name] for name in file.files}
    texts = tuple(json.loads(given["texts"].tobytes()))
    return Trajectory(**given | {"texts": texts, "step": int(given["step"])})
