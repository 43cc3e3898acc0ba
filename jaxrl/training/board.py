"""TensorBoard's event file, written in the calling thread.

tensorboardX's own SummaryWriter was left out on purpose: it hands events to a thread, which a full
disk ends without a word; its queue then fills up, and the run hangs for ever.
"""

import time
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary


class Board:
    """A new event file in `folder`. What older ones hold of steps ≥ resume_at is hidden by it."""

    def __init__(self, folder, resume_at=0):
        Path(folder).mkdir(parents=True, exist_ok=True)
        # A name holds whole seconds: two starts could clash.
        self._file = EventsWriter(str(Path(folder) / "events"), f".{resume_at}")
        self._write(resume_at, session_log=SessionLog(status=SessionLog.START))

    def scalars(self, step, values):
        """{name: finite number} of one step, on disk when this returns."""
        found = [Summary.Value(tag=name, simple_value=x) for name, x in values.items()]
        self._write(step, summary=Summary(value=found))
        self._file.flush()

    def close(self):
        """Flushes and closes the file."""
        self._file.close()

    def _write(self, step, **what):
        self._file.write_event(Event(wall_time=time.time(), step=step, **what))
