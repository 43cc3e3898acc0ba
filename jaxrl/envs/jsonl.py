"""Question/answer files in GSM8K's form: one JSON object a line, the answer after "####".

    {"question": "Tom has 3 pens and buys 2. How many?", "answer": "3 + 2 = 5\n#### 5"}

An answer without "####" is taken whole, and may be a number. Other keys are ignored.
"""

import dataclasses
import functools
import math
import pathlib
from typing import NamedTuple

from jaxrl import json_lines
from jaxrl.envs import answers, prompts
from jaxrl.envs.base import Step, choose, place

SPLITS = ("all", "train", "held_out")


class Task(NamedTuple):
    """The state: one line of the file."""

    question: str
    solution: str  # as in the file
    answer: str  # what counts


@dataclasses.dataclass(frozen=True)
class Jsonl:
    """Single-turn tasks from a file. Numbers compare exactly, expressions by math-verify.

    Splits are files, or shares of one file: a question's split is a hash of its text, so the lines'
    order and number change nothing. A question that stands twice counts once.
    """

    path: str
    split: str = "all"  # or "train", "held_out"
    held_out: float = 0.0  # share of questions held out
    style: str = "chat"  # or "few_shot": see prompts.py
    examples: str = ""  # a file of worked examples; none of them is ever a task
    shots: int = 0  # how many of them are shown, from the top
    system: str = ""  # chat only
    suffix: str = ""  # added to each question
    extract: str = "lenient"  # or "marked", "strict": see answers.py

    def __post_init__(self):
        choose("split", self.split, SPLITS)
        choose("style", self.style, prompts.STYLES)
        choose("extract", self.extract, answers.MODES)
        if not 0 <= self.held_out < 1:
            raise ValueError(f"held_out = {self.held_out!r} must lie in [0, 1)")
        if self.shots and not self.examples:
            raise ValueError(f"shots = {self.shots!r} needs examples: the path of a file of them")

    def __len__(self):
        return len(self._tasks)

    @property
    def stop(self):
        """A few-shot reply ends at an empty line; a chat reply with the model's own end token."""
        return ("\n\n",) if self.style == "few_shot" else ()

    def reset(self, index):
        """Task `index` and its prompt."""
        task = self._tasks[index]
        shown = [(t.question, t.solution) for t in self._shown[: self.shots]]
        knobs = {"system": self.system, "suffix": self.suffix}
        return task, prompts.messages(self.style, task.question, shown, **knobs)

    def step(self, state, action):
        """Reward 1 if the reply's answer equals the file's, else 0."""
        reply = prompts.cut(action, self.stop)
        answer = answers.extract(reply, self.extract, state.answer)
        reward = float(answers.equal(answer, state.answer))
        return Step(state, (), reward, True, {"correct": reward})

    def answer(self, state):
        """The file's answer."""
        return state.answer

    @functools.cached_property  # lazy: a worker scores tasks and never reads them
    def _tasks(self):
        shown = {t.question for t in self._shown}
        unique = {t.question: t for t in reversed(read(self.path))}  # the first of equals stays
        tasks = [t for t in reversed(unique.values()) if t.question not in shown]
        tasks = tuple(t for t in tasks if self._within(t))
        if not tasks:
            raise ValueError(
                f"split = {self.split!r} of {self.path} is empty: no question falls in "
                f"it with held_out = {self.held_out}"
            )
        return tasks

    @functools.cached_property
    def _shown(self):
        tasks = read(self.examples) if self.examples else ()
        if len(tasks) < self.shots:
            raise ValueError(f"shots = {self.shots}: {self.examples} has only {len(tasks)} lines")
        return tasks

    def _within(self, task):
        return self.split == "all" or (place(task.question) < self.held_out) == (
            self.split == "held_out"
        )


def read(path):
    """All tasks of a file, or a ValueError that lists its broken lines."""
    file = pathlib.Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"path = {str(path)!r} is not a file; give a .jsonl file of tasks")
    tasks, broken = [], []
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            tasks.append(_parse(line))
        except ValueError as e:
            broken.append(f"line {number}: {e}")
    if broken:
        raise ValueError(json_lines.listing(path, broken))
    if not tasks:
        raise ValueError(f"path = {str(path)!r} holds no task: the file is empty")
    return tuple(tasks)


def _parse(line):
    record = json_lines.record(line)
    missing = [k for k in ("question", "answer") if k not in record]
    if missing:
        raise ValueError(f"no key {' and '.join(map(repr, missing))}; has {sorted(record)[:5]}")
    question, solution = record["question"], record["answer"]
    if isinstance(solution, int | float) and not isinstance(solution, bool):
        solution = str(solution) if math.isfinite(solution) else ""
    for key, value in (("question", question), ("answer", solution)):
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{key} = {record[key]!r} must be a text that is not empty")
    answer = solution.rsplit("####", 1)[-1].strip()
    if not answer:
        raise ValueError("nothing follows '####' in answer")
    return Task(question, solution, answer)
