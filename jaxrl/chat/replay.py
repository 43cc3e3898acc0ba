"""What a chat model answered, kept in a file: a run with an outside judge can be repeated offline.

    judge = Recording("replies.jsonl", endpoint.about, endpoint)     asks, and writes down
    judge = Recording("replies.jsonl", endpoint.about)               never asks

A line is one reply under the hash of all that it depends on: who was asked and how, the
conversation, and how often this same thing was asked before, since a model that samples answers
differently each time. The conversations themselves are left out: judges read whole trajectories.
"""

import collections
import fcntl
import hashlib
import json
import logging
import os

from jaxrl.chat.base import Reply
from jaxrl.chat.tool_calls import Malformed
from jaxrl.messages import ToolCall

log = logging.getLogger(__name__)


def digest(about, conversation, asked):
    """sha256 of the canonical JSON of who is asked, what, and how often it was asked before."""
    everything = {"about": about, "conversation": [list(m) for m in conversation], "asked": asked}
    text = json.dumps(everything, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Recording:
    """A ChatModel over another one and a JSONL file; without a model, over the file alone.

    What the file knows is not asked again, unless it is a failure. A batch is written at once when
    it is answered, so a kill loses what is under way; one process at a time may record to a file.
    asked: how often each thing was asked, for a checkpoint to keep: a resumed run goes on counting.
    counts: known, recorded, missing.
    """

    def __init__(self, path, about, model=None):
        self.path, self.about, self.model = str(path), about, model
        self.asked, self.counts = collections.Counter(), collections.Counter()
        digest(about, [], 0)  # what has no JSON is refused here
        if model is None and not os.path.isfile(self.path):
            raise FileNotFoundError(
                f"path = {self.path!r} is no file: record one first, by giving the model"
            )
        self._file = None if model is None else locked(self.path)
        try:
            self._replies, whole = read(self.path)
        except ValueError:
            self.close()
            raise
        if self._file is not None:
            os.ftruncate(self._file, whole)

    async def __call__(self, conversations):
        """One Reply a conversation, in their order. Without a model, a miss is a failed Reply."""
        hashes = [self._hash(c) for c in conversations]
        missing = [i for i, h in enumerate(hashes) if not self._knows(h)]
        self.counts["known"] += len(hashes) - len(missing)
        if self.model is None:
            self.counts["missing"] += len(missing)
            return [self._replies.get(h) or self._miss(h) for h in hashes]
        if missing:
            replies = await self.model([conversations[i] for i in missing])
            self._write({hashes[i]: reply for i, reply in zip(missing, replies, strict=True)})
        return [self._replies[h] for h in hashes]

    def close(self):
        """Lets another process record to the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _hash(self, conversation):
        same = digest(self.about, conversation, 0)
        self.asked[same] += 1
        return digest(self.about, conversation, self.asked[same] - 1)

    def _knows(self, hash):
        known = self._replies.get(hash)
        return known is not None and (self.model is None or not known.failure)

    def _miss(self, hash):
        detail = f"hash {hash} is not in {self.path}: run once with the model to record it"
        return Reply("", failure="error", detail=detail)

    def _write(self, replies):
        lines = [json.dumps({"hash": h, "reply": r._asdict()}) + "\n" for h, r in replies.items()]
        raw = "".join(lines).encode()
        end = os.lseek(self._file, 0, os.SEEK_END)
        if os.write(self._file, raw) != len(raw):
            os.ftruncate(self._file, end)
            raise OSError(f"{self.path} cannot take {len(raw)} bytes more: free some space")
        self._replies |= replies
        self.counts["recorded"] += len(replies)


def read(path):
    """A file -> (hash -> Reply, bytes of its whole lines). The last of equals counts."""
    replies, whole = {}, 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                log.warning("%s ends in half a line, left by a kill: it is not used", path)
                break
            try:
                row = json.loads(line)
                replies[row["hash"]] = _reply(**row["reply"])
            except (ValueError, KeyError, TypeError) as e:
                raise ValueError(
                    f"line {number} of {path} is no recorded reply ({e!r:.100}): remove it, or "
                    "give the path of a recording"
                ) from None
            whole += len(line)
    return replies, whole


def _reply(calls, malformed, **rest):
    return Reply(
        calls=tuple(ToolCall(*c) for c in calls),
        malformed=tuple(Malformed(*c) for c in malformed),
        **rest,
    )


def locked(path):
    """A descriptor of the file to append to, which no other process gets while it is open."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise RuntimeError(
            f"path = {path!r} is being written by another process: give each its own file"
        ) from None
    return file
