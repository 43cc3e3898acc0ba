"""Question files: gold after ####, splits, and errors that list the broken lines."""

import json

import pytest

from jaxrl.envs.jsonl import Jsonl

LINES = [
    {
        "question": "Ann has 3 pens and buys 2 more. How many?",
        "answer": "3 + 2 = <<3+2=5>>5\n#### 5",
    },
    {"question": "A shop sells 40 boxes of 25 nails. How many nails?", "answer": "#### 1,000"},
    {"question": "Half of one?", "answer": "#### 1/2"},
    {"question": "The diagonal of a square of side 2?", "answer": r"#### 2\sqrt{2}"},
    {"question": "What swims?", "answer": "A fish"},
    {"question": "Two and two?", "answer": 4, "source": "extra keys are fine"},
]


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "tasks.jsonl", LINES)


@pytest.mark.parametrize(
    "index, reply, reward",
    [
        (0, "3 + 2 = 5 pens", 1),
        (0, "She has 6.", 0),
        (1, "That makes 1000 nails.", 1),
        (1, "1,000", 1),
        (2, r"\boxed{0.5}", 1),
        (2, r"\boxed{\frac{1}{2}}", 1),
        (3, r"It is \boxed{\sqrt{8}}", 1),
        (3, r"It is \boxed{\sqrt{6}}", 0),
        (4, "a fish", 1),
        (5, "#### 4", 1),
    ],
)
def test_scores(file, index, reply, reward):
    env = Jsonl(file)
    task, _ = env.reset(index)
    assert env.step(task, reply).reward == reward
    assert env.step(task, f"The answer is {env.answer(task)}").reward == 1


def test_marked_demands_the_mark(file):
    env = Jsonl(file, extract="marked")
    task, _ = env.reset(0)
    assert [env.step(task, r).reward for r in ("5", "#### 5", r"\boxed{5}", "")] == [0, 1, 1, 0]


def test_few_shot_examples_are_shown_whole_and_are_no_tasks(tmp_path, file):
    examples = write(tmp_path / "examples.jsonl", LINES[:2])
    env = Jsonl(file, style="few_shot", examples=examples, shots=1)
    task, (prompt,) = env.reset(0)
    assert prompt.content == (
        f"Q: {LINES[0]['question']}\nA: {LINES[0]['answer']}\n\nQ: Half of one?\nA:"
    )
    assert len(env) == len(LINES) - 2
    assert env.step(task, " It is 1/2.\n\nQ: What is 9?\nA: 9").reward == 1


def test_splits_are_disjoint_and_ignore_the_order(tmp_path):
    lines = [{"question": f"{i} + 1?", "answer": str(i + 1)} for i in range(200)]
    one = write(tmp_path / "one.jsonl", lines + lines[:50])
    two = write(tmp_path / "two.jsonl", lines[::-1])
    sets = {}
    for split in ("all", "train", "held_out"):
        env, turned = Jsonl(one, split=split, held_out=0.3), Jsonl(two, split=split, held_out=0.3)
        sets[split] = {env.reset(i)[0].question for i in range(len(env))}
        assert len(sets[split]) == len(env)
        assert sets[split] == {turned.reset(i)[0].question for i in range(len(turned))}
    assert sets["train"] | sets["held_out"] == sets["all"] and len(sets["all"]) == 200
    assert not sets["train"] & sets["held_out"] and 40 < len(sets["held_out"]) < 80


BROKEN = [
    (b'{"question": "a", "answer": "1"', "not JSON"),
    (b'["a", "1"]', "a JSON list"),
    (b'{"question": "a"}', "no key 'answer'; has ['question']"),
    (b'{"question": "", "answer": "1"}', "question = ''"),
    (b'{"question": "a", "answer": null}', "answer = None"),
    (b'{"question": "a", "answer": "so\\n####  "}', "nothing follows '####'"),
    (b'{"question": "\xff", "answer": "1"}', "not UTF-8"),
    (b'{"question": "a", "answer": NaN}', "answer = nan"),
]


def test_every_broken_line_is_listed_with_its_number(tmp_path):
    path = tmp_path / "broken.jsonl"
    good = b'{"question": "b", "answer": "2"}'
    path.write_bytes(b"\n".join(x for line, _ in BROKEN for x in (line, good, b"")))
    with pytest.raises(ValueError) as caught:
        len(Jsonl(str(path)))
    message = str(caught.value)
    assert f"{len(BROKEN)} broken lines" in message
    for i, (_, words) in enumerate(BROKEN):
        assert any(f"line {3 * i + 1}:" in m and words in m for m in message.splitlines())
    path.write_bytes(b"nonsense\n" * 35)
    with pytest.raises(ValueError, match=r"line 20:.*\n +and 15 more$"):
        len(Jsonl(str(path)))


def test_files_that_hold_nothing_are_refused(tmp_path, file):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jsonl"):
        len(Jsonl(str(tmp_path / "nowhere.jsonl")))
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(ValueError, match="holds no task"):
        len(Jsonl(str(tmp_path / "empty.jsonl")))
    with pytest.raises(ValueError, match=r"split = 'held_out' .* is empty"):
        len(Jsonl(file, split="held_out"))
    with pytest.raises(ValueError, match="shots = 2 needs examples"):
        Jsonl(file, shots=2)
    with pytest.raises(ValueError, match=r"shots = 9: .* has only 6 lines"):
        len(Jsonl(file, examples=file, shots=9))
