"""Any data set of the reasoning_gym package, scored by the data set's own checker.

    chain_sum, few_shot, show=": (.*)":  Q: 7 + 5 =          reply " 12", reward 1.0
                                         A:

Left out on purpose: curricula, and data sets that need the network.
"""

import dataclasses
import functools
import itertools
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxrl.envs import answers, prompts
from jaxrl.envs.base import Step, choose, place

SPLITS = ("train", "held_out")
SHOWN = 0.05  # share of all questions kept for worked examples, so that they are in neither split
STRIDE = 1_000_003  # item i of a data set is drawn with seed + i: keeps our seeds' streams apart


class Task(NamedTuple):
    """The state: one generated item."""

    question: str  # as shown
    entry: dict[str, Any]  # as generated: question, answer (None if only a checker knows), metadata


@dataclasses.dataclass(frozen=True)
class ReasoningGym:
    """Single-turn tasks from reasoning_gym. A question's split is a hash of the text shown.

    So no held-out question is ever trained on, whatever the seeds and sizes, nor shown as a worked
    example. Held-out questions are all different; training may repeat one as often as it is drawn.
    """

    dataset: str  # a name known to reasoning_gym, such as "chain_sum"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # its own parameters
    split: str = "train"  # or "held_out"
    size: int = 1000  # tasks
    seed: int = 0
    held_out: float = 0.2  # share of questions held out
    style: str = "chat"  # or "few_shot": see prompts.py
    shots: int = 0  # worked examples, the same ones before every task
    shots_seed: int = 0  # which ones; apart from seed, so that both splits show the same
    system: str = ""  # chat only
    suffix: str = ""  # added to each question
    show: str = ""  # regular expression: its first group is shown in place of the whole question
    extract: str = "lenient"  # or "strict", "marked": see answers.py
    partial_credit: bool = True  # False: the data set's score counts only if it is 1

    def __post_init__(self):
        choose("split", self.split, SPLITS)
        choose("style", self.style, prompts.STYLES)
        choose("extract", self.extract, answers.MODES)
        if not 0 < self.held_out < 1 - SHOWN:
            raise ValueError(f"held_out = {self.held_out!r} must lie between 0 and {1 - SHOWN}")
        if self.size < 1 or self.shots < 0:
            raise ValueError(
                f"size = {self.size!r} must be positive, shots = {self.shots!r} not < 0"
            )
        _ = self._source  # refuses bad options now

    def __len__(self):
        return len(self._tasks)

    @property
    def stop(self):
        """A few-shot reply is one line; a chat reply ends with the model's own end token."""
        return ("\n",) if self.style == "few_shot" else ()

    def reset(self, index):
        """Task `index` and its prompt."""
        task = self._tasks[index]
        knobs = {"system": self.system, "suffix": self.suffix}
        return task, prompts.messages(self.style, task.question, self._examples, **knobs)

    def step(self, state, action):
        """Scores one reply; info says whether the answer was wholly right."""
        reply = prompts.cut(action, self.stop)
        answer = answers.extract(reply, self.extract, state.entry["answer"])
        score = float(self._source.score_answer(answer, state.entry))
        reward = score if self.partial_credit else float(score == 1)
        return Step(state, (), reward, True, {"correct": float(score == 1)})

    def answer(self, state):
        """The data set's reference answer, if it has one."""
        known = state.entry["answer"]
        return "(any that the checker accepts)" if known is None else known

    @functools.cached_property
    def _source(self):
        return _create(self.dataset, self.options, seed=self.seed * STRIDE, size=self._reach)

    @property
    def _reach(self):
        return 50 * self.size + 1000  # items looked at before giving up; our choice

    @functools.cached_property  # lazy: a worker scores tasks and never generates them
    def _tasks(self):
        found, seen = [], set()
        for task in self._draw(self._source, self._reach):
            if self._split(task) == self.split and task.question not in seen:
                found.append(task)
                if self.split == "held_out":
                    seen.add(task.question)
            if len(found) == self.size:
                return tuple(found)
        raise ValueError(
            f"size = {self.size}: {self.dataset} with options = {dict(self.options)} has only "
            f"{len(found)} such tasks in split {self.split!r}; lower size, change held_out = "
            f"{self.held_out}, or widen the options"
        )

    @functools.cached_property
    def _examples(self):
        if self.shots == 0:
            return ()
        fixed = _create(self.dataset, self.options, seed=self.shots_seed * STRIDE, size=5000)
        known = (t for t in self._draw(fixed, 5000) if t.entry["answer"] is not None)
        pairs = ((t.question, t.entry["answer"]) for t in known if self._split(t) == "shown")
        found = tuple(itertools.islice(dict(pairs).items(), self.shots))
        if len(found) < self.shots:
            raise ValueError(
                f"shots = {self.shots}: {self.dataset} gave only {len(found)} examples"
            )
        return found

    def _draw(self, source, count):
        for i in range(count):
            entry = source[i]
            yield Task(self._shown(entry["question"]), entry)

    def _shown(self, question):
        if not self.show:
            return question
        match = re.search(self.show, question, re.DOTALL)
        if match is None or match.re.groups < 1:
            raise ValueError(
                f"show = {self.show!r} must match, with a group, question {question!r}"
            )
        return match[1].strip()

    def _split(self, task):
        at = place(task.question)
        return "shown" if at < SHOWN else "held_out" if at < SHOWN + self.held_out else "train"


def _create(name, options, *, seed, size):
    from reasoning_gym import factory  # 2 s and 60 MB that the other envs need not pay

    choose("dataset", name, factory.DATASETS)
    settings = factory.DATASETS[name][1]
    known = {f.name for f in dataclasses.fields(settings)} - {"seed", "size"}
    for key in options:
        choose(f"a key of options for {name}", key, known)
    try:
        return factory.create_dataset(name, **options, seed=seed, size=size)
    except (AssertionError, TypeError, ValueError) as e:
        raise ValueError(f"options = {dict(options)} refused by {name}: {e}") from e
