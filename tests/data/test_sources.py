"""The order of tasks is a permutation an epoch and resumes exactly; broken text files say where."""

import json

import numpy as np
import pytest

from jaxrl.data import sources


def take(stream, n):
    return [next(stream) for _ in range(n)]


@pytest.mark.parametrize("tasks, prompts", [(10, 5), (10, 4), (3, 8), (1, 1)])
def test_every_task_comes_once_an_epoch_in_a_fresh_order(tasks, prompts):
    """The borders of batches and of epochs need not coincide, nor a batch fit in an epoch."""
    stream = sources.task_batches(tasks, prompts, seed=3)
    rows = take(stream, 4 * tasks)
    assert all(row.shape == (prompts,) and row.dtype == np.int64 for row in rows)
    epochs = np.concatenate(rows).reshape(-1, tasks)
    assert (np.sort(epochs, axis=1) == np.arange(tasks)).all()
    assert tasks < 3 or len({tuple(epoch) for epoch in epochs}) > 1


def test_the_seed_decides_the_order():
    first = [np.concatenate(take(sources.task_batches(50, 10, seed=s), 5)) for s in (1, 1, 2)]
    np.testing.assert_array_equal(first[0], first[1])
    assert (first[0] != first[2]).any()


@pytest.mark.parametrize("done", [0, 1, 2, 5, 9])
def test_a_resumed_stream_goes_on_as_if_never_stopped(done):
    """A batch of 4 out of 10: the third batch crosses from one epoch to the next."""
    whole = take(sources.task_batches(10, 4, seed=5), 12)
    stopped = sources.task_batches(10, 4, seed=5)
    take(stopped, done)
    state = json.loads(json.dumps(stopped.get_state()))
    resumed = sources.task_batches(10, 4, seed=5)
    resumed.set_state(state)
    np.testing.assert_array_equal(take(resumed, 12 - done), whole[done:])


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((0, 4, 1), "num_tasks=0.*empty"),
        ((5, 0, 1), "rollout.prompts=0"),
        ((5, 4, -1), "seed=-1"),
        ((5, 4, 2**32), "seed=4294967296"),
    ],
)
def test_settings_without_a_stream_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        sources.task_batches(*arguments)


CHAT = {"messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]}
PLAIN = {"prompt": "Q: 3 + 4\nA:", "response": " 7"}


def write(path, *lines):
    text = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text("\n".join(text) + "\n")
    return path


def test_text_rows_come_back_and_batch_as_lists(tmp_path):
    rows = sources.text_rows(write(tmp_path / "a.jsonl", CHAT, "", PLAIN))
    assert [rows[i] for i in range(len(rows))] == [CHAT, PLAIN]
    batch = next(sources.batches(rows, 2, seed=0))
    assert sorted(map(str, batch)) == sorted(map(str, [CHAT, PLAIN]))


def test_every_broken_line_is_listed_with_its_number(tmp_path):
    role = {"messages": [{"role": "human", "content": "hi"}]}
    mute = {"messages": [{"role": "user", "content": "hi"}]}
    path = write(tmp_path / "b.jsonl", PLAIN, '{"prompt": ', "[1]", "", {"prompt": "x"}, role, mute)
    with pytest.raises(ValueError) as error:
        sources.text_rows(path)
    told = str(error.value).splitlines()
    assert "b.jsonl: 5 broken lines" in told[0]
    expected = [
        "2: not JSON",
        "3: a JSON list, not an object",
        "5: keys ['prompt']",
        "6: message 0 has role",
    ]
    for line, words in zip(told[1:], [*expected, "7: no message of the assistant"], strict=True):
        assert f"line {words}" in line


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": 1, "response": "x"},
        {"prompt": "x", "response": ""},
        {"messages": []},
        {"messages": ["hi"]},
        {"messages": [{"role": "assistant", "content": None}]},
        CHAT | PLAIN,
    ],
)
def test_rows_of_the_wrong_form_are_refused(tmp_path, row):
    with pytest.raises(ValueError, match=r"1 broken lines.*\n.*line 1: "):
        sources.text_rows(write(tmp_path / "c.jsonl", row))


def test_an_empty_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"d.jsonl holds no rows"):
        sources.text_rows(write(tmp_path / "d.jsonl", ""))
