"""A replayed run hears what the recorded one heard, also after a kill; nothing is asked twice."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_endpoint import ok, said, serve

from jaxrl import tools
from jaxrl.chat import replay, tool_calls
from jaxrl.chat.base import Reply
from jaxrl.chat.http import Endpoint, HttpConfig
from jaxrl.chat.replay import Recording
from jaxrl.chat.tool_calls import Malformed
from jaxrl.messages import Message, ToolCall

ABOUT = {"model": "judge", "law": {"temperature": 1.0, "top_p": 0.9}, "tools": []}
TALKS = [[Message("user", t)] for t in ("a", "b", "a", "é")]


class Counting:
    """A model that never answers the same twice: its text counts its replies."""

    def __init__(self, make=lambda n, talk: Reply(f"{n}: {talk[-1].content}", prompt_tokens=n)):
        self.number, self.batches, self.make = 0, [], make

    async def __call__(self, conversations):
        self.batches.append(len(conversations))
        await asyncio.sleep(0)
        self.number += len(conversations)
        first = self.number - len(conversations)
        return [self.make(first + i, c) for i, c in enumerate(conversations)]


def ask(model, *batches):
    return [asyncio.run(model(batch)) for batch in batches]


def test_a_replay_is_the_original(tmp_path):
    """Each time the same thing was asked it got another answer, and gets it again."""
    model = Counting()
    recorded = Recording(tmp_path / "r.jsonl", ABOUT, model)
    original = ask(recorded, TALKS, TALKS[:2])
    assert original[0][0].text == "0: a" and original[0][2].text == "2: a"
    assert original[1][0].text == "4: a"
    replayed = Recording(tmp_path / "r.jsonl", ABOUT)
    assert ask(replayed, TALKS, TALKS[:2]) == original
    assert replayed.counts == {"known": 6, "missing": 0} and recorded.counts["recorded"] == 6


def test_every_part_of_a_reply_comes_back(tmp_path):
    """Calls, malformed calls and failures are records, not lists, and texts of any characters."""
    odd = [
        Reply("é\u2028\x00", calls=(ToolCall("f", {"a": [1.5, None]}, "c1"),), new_tokens=3),
        Reply("", malformed=(Malformed("why", "how", "c2"),)),
        Reply("", failure="limit", detail="429"),
    ]
    model = Counting(lambda n, _: odd[n])
    (original,) = ask(Recording(tmp_path / "r.jsonl", ABOUT, model), TALKS[:3])
    assert original == odd
    (replayed,) = ask(Recording(tmp_path / "r.jsonl", ABOUT), TALKS[:3])
    assert replayed == odd and isinstance(replayed[0].calls[0], ToolCall)
    assert isinstance(replayed[1].malformed[0], Malformed)


def test_a_miss_names_its_hash(tmp_path):
    """And takes no other conversation along."""
    ask(Recording(tmp_path / "r.jsonl", ABOUT, Counting()), TALKS[:1])
    replayed = Recording(tmp_path / "r.jsonl", ABOUT)
    ((known, missed),) = ask(replayed, TALKS[:2])
    assert known.text == "0: a" and missed.failure == "error" and missed.text == ""
    assert replay.digest(ABOUT, TALKS[1], 0) in missed.detail and replayed.counts["missing"] == 1


def test_the_hash_knows_all_that_a_reply_depends_on():
    """And nothing else: the order of keys is no difference."""
    call = Message("assistant", "", (ToolCall("f", {"a": 1, "b": 2}),))
    plain = replay.digest(ABOUT, [call], 0)
    others = [
        replay.digest(ABOUT | {"model": "other"}, [call], 0),
        replay.digest(ABOUT | {"law": {"temperature": 0}}, [call], 0),
        replay.digest(ABOUT | {"tools": [{"name": "f"}]}, [call], 0),
        replay.digest(ABOUT, [call._replace(role="user")], 0),
        replay.digest(ABOUT, [call._replace(content="x")], 0),
        replay.digest(ABOUT, [call._replace(calls=(ToolCall("f", {"a": 1}),))], 0),
        replay.digest(ABOUT, [call._replace(call_id="x")], 0),
        replay.digest(ABOUT, [call, call], 0),
        replay.digest(ABOUT, [call], 1),
    ]
    assert len({plain, *others}) == 10
    turned = {"tools": [], "law": {"top_p": 0.9, "temperature": 1.0}, "model": "judge"}
    same = call._replace(calls=(ToolCall("f", {"b": 2, "a": 1}),))
    assert replay.digest(turned, [same], 0) == plain


def test_recording_goes_on_where_it_stopped(tmp_path):
    """What is known is not paid for twice; a failure is asked again, and its new answer counts."""
    failing = Counting(lambda n, t: Reply("", failure="error") if n == 1 else Reply(f"old {n}"))
    first = Recording(tmp_path / "r.jsonl", ABOUT, failing)
    ask(first, TALKS)
    first.close()
    model = Counting(lambda n, t: Reply(f"new {n}"))
    (replies,) = ask(Recording(tmp_path / "r.jsonl", ABOUT, model), [*TALKS, TALKS[0]])
    assert [r.text for r in replies] == ["old 0", "new 0", "old 2", "old 3", "new 1"]
    assert model.batches == [2]
    (again,) = ask(Recording(tmp_path / "r.jsonl", ABOUT), [*TALKS, TALKS[0]])
    assert again == replies


def test_a_resumed_run_goes_on_counting(tmp_path):
    """With `asked` from the checkpoint; without it the second "a" would hear the first's answer."""
    before = Recording(tmp_path / "r.jsonl", ABOUT, Counting())
    ask(before, TALKS[:1])
    before.close()
    resumed = Recording(tmp_path / "r.jsonl", ABOUT, Counting(lambda n, _: Reply("second")))
    resumed.asked.update(before.asked)
    assert ask(resumed, TALKS[:1])[0][0].text == "second"


def search(world, query: str, top: int = 1):
    """Finds lines of the world."""
    return "; ".join([line for line in world if query in line][:top])


async def converse(model):
    """A whole conversation with tools: the calls it made, and the last words."""
    world, tool = ("tea is green", "tea is hot"), tools.tool(search)
    talk, made = [Message("user", "What is tea?")], []
    for _ in range(5):
        (reply,) = await model([talk])
        if not reply.calls and not reply.malformed:
            break
        talk.append(Message("assistant", reply.text, reply.calls))
        talk += map(tool_calls.observation, reply.malformed)
        for call in reply.calls:
            made.append(call)
            try:
                text = search(world, **tools.checked(tool, call.arguments))
            except tools.ToolError as e:
                text = str(e)
            talk.append(Message("tool", text, call_id=call.id))
    return made, talk, reply


def test_a_conversation_with_tools_is_repeated_offline(tmp_path, monkeypatch):
    """Endpoint, tools and recording together: a broken call, a wrong one, a good one, an answer;
    then the same again after the server is gone."""
    monkeypatch.setenv("TINY_KEY", "k")
    call = lambda text: {"id": "c", "function": {"name": "search", "arguments": text}}
    turns = ['{"query": ', '{"query": 5}', '{"query": "tea", "top": 2.0}']
    answers = [said("", tool_calls=[call(t)]) for t in turns] + [said("Green and hot.")]
    about = (tools.tool(search),)
    with serve(lambda _, number: ok(answers[number])) as server:
        model = Endpoint(HttpConfig(server.url, "m", tools=about, key="TINY_KEY", tries=1))
        recorded = asyncio.run(converse(Recording(tmp_path / "r.jsonl", model.about, model)))
        rows = server.requests[-1][2]["messages"]
    assert recorded[0][-1].arguments == {"query": "tea", "top": 2.0}
    assert [r["role"] for r in rows] == ["user", *["assistant", "user"], *["assistant", "tool"] * 2]
    assert "could not be read" in rows[2]["content"] and "give a string" in rows[4]["content"]
    assert rows[6]["content"] == "tea is green; tea is hot"
    assert recorded[2].text == "Green and hot."
    replayed = asyncio.run(converse(Recording(tmp_path / "r.jsonl", model.about)))
    assert replayed == recorded and model.counts["requests"] == 4


KILLED = """
import asyncio, sys
from jaxrl.chat.base import Reply
from jaxrl.chat.replay import Recording
from jaxrl.messages import Message

async def model(talks):
    return [Reply("x" * 50_000 + t[0].content) for t in talks]

recording = Recording(sys.argv[1], {}, model)
for i in range(10**9):
    asyncio.run(recording([[Message("user", str(i))]]))
    print(i, flush=True)
"""


def test_a_killed_recording_is_readable(tmp_path):
    """Whenever the kill comes: all replies that were handed out are there."""
    path = tmp_path / "r.jsonl"
    command = [sys.executable, "-c", KILLED, str(path)]
    root = str(Path(replay.__file__).parents[2])
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": root}
    ) as process:
        for _ in range(20):
            handed = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        process.wait()
    talks = [[Message("user", str(i))] for i in range(handed + 1)]
    (replies,) = ask(Recording(path, {}), talks)
    assert [r.text[50_000:] for r in replies] == [str(i) for i in range(handed + 1)]


@pytest.mark.parametrize("cut", [1, 30, 100])
def test_a_last_line_cut_short_is_dropped(tmp_path, cut, caplog):
    """A replay leaves it and says so; a recording writes on after the last whole line."""
    path = tmp_path / "r.jsonl"
    first = Recording(path, ABOUT, Counting())
    (original,) = ask(first, TALKS)
    first.close()
    path.write_bytes(path.read_bytes()[:-cut])
    (replies,) = ask(Recording(path, ABOUT), TALKS)
    assert replies[:3] == original[:3] and replies[3].failure == "error"
    assert "half a line" in caplog.text
    model = Counting()
    ask(Recording(path, ABOUT, model), TALKS)
    assert model.batches == [1] and len(replay.read(path)[0]) == 4


def test_bad_files_and_settings_are_refused(tmp_path):
    """Before anything is asked: no file, a broken line, two writers, what has no JSON."""
    path = tmp_path / "r.jsonl"
    with pytest.raises(FileNotFoundError, match=r"r.jsonl' is no file: record one first"):
        Recording(path, ABOUT)
    recording = Recording(path, ABOUT, Counting())
    with pytest.raises(RuntimeError, match="written by another process: give each its own"):
        Recording(path, ABOUT, Counting())
    ask(recording, TALKS)
    recording.close()
    Recording(path, ABOUT, Counting()).close()
    with pytest.raises(TypeError, match="not JSON serializable"):
        Recording(path, {"model": object()})
    for broken in (b"{", b"[1]", b'{"hash": "a", "reply": {"text": "b", "odd": 1}}'):
        path.write_bytes(broken + b"\n")
        for model in (None, Counting(), Counting()):  # twice: the first leaves no lock
            with pytest.raises(ValueError, match=r"line 1 of .* is no recorded reply"):
                Recording(path, ABOUT, model)


def test_a_full_disk_stops_the_run_and_leaves_whole_lines(tmp_path, monkeypatch):
    """Half a batch in the file would be taken for a kill's, or worse, be written on."""
    path = tmp_path / "r.jsonl"
    recording = Recording(path, ABOUT, Counting())
    ask(recording, TALKS)
    write = os.write
    monkeypatch.setattr("jaxrl.chat.replay.os.write", lambda fd, raw: write(fd, raw[:10]))
    with pytest.raises(OSError, match="free some space"):
        ask(recording, TALKS)
    assert len(replay.read(path)[0]) == 4 and path.read_bytes().endswith(b"\n")
