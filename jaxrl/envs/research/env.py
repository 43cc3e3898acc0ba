"""Open-DeepResearch: reports on documents that must be searched for and read.

    user       Explain "Mickey Mouse" to me briefly. Cover "Ub Iwerks" as well. …
    assistant  search(query="Mickey Mouse")
    tool       [{"id": "d5062", "title": "Mickey Mouse", "snippet": …}, …]
    assistant  open(id="d5062")
    tool       {"id": "d5062", "title": "Mickey Mouse", "page": 1, "pages": 1, "text": …}
    assistant  # Mickey Mouse … [d5062] …             reward: the utility, 0 to 1

Three task kinds as in ArenaRL (arXiv:2601.06487).
"""

import dataclasses
from typing import NamedTuple

from jaxrl.envs.base import Step, choose
from jaxrl.envs.research import calls, expert, reports, sources, tools, topics
from jaxrl.envs.research import task as tasks
from jaxrl.envs.research import utility as utilities
from jaxrl.messages import Message, ToolCall

SYSTEM = f"""\
You are a research assistant. Begin with a plan. Then search the documents and open those that \
matter: they alone count, not what you remember. Several of them are needed.
{reports.FORM}"""


class State(NamedTuple):
    """A task, and every call made so far with its result."""

    task: tasks.Task
    calls: tuple[tuple[ToolCall, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class OpenDeepResearch:
    """The tasks of one split, its kinds in turn; task i is the same in every process."""

    split: str = "rl"  # sft, rl or test
    size: int = 0  # tasks; 0 = as many as in the paper: sft 2662, rl 2216, test 100
    seed: int = 0  # of the tasks
    corpus: str = "hotpotqa"  # of sources.SOURCES or .jsonl files, several with + between
    only: tuple[str, ...] = ()  # kinds of tasks; () = all
    brief: bool = False  # the query alone, without the rules: for a policy trained to know them

    def __post_init__(self):
        choose("split", self.split, tasks.SIZES)
        for kind in self.only:
            choose("only", kind, tasks.KINDS)
        if self.size < 0:
            raise ValueError(f"size = {self.size!r} must be positive, or 0 for the paper's size")
        for name in sources.names(self.corpus):
            sources.files(name)  # what is not installed is refused here

    def __len__(self):
        return self.size or tasks.SIZES[self.split]

    @property
    def stop(self):
        """Turns end with the model's own end token."""
        return ()

    @property
    def kinds(self):
        """The task kinds, in the order of the tasks."""
        return tuple(kind for kind in tasks.KINDS if kind in (self.only or tasks.KINDS))

    @property
    def tools(self):
        """The functions an agent may call; their first argument is the world, which `use` gives."""
        return tools.TOOLS

    def reset(self, index):
        """Task `index` and its prompt."""
        if not 0 <= index < len(self):
            raise IndexError(f"task {index} of {len(self)}: raise size, or take a lower index")
        kind = self.kinds[index % len(self.kinds)]
        task = topics.draw(self.corpus, self.seed, self.split, kind, index)
        rules = () if self.brief else (Message("system", SYSTEM),)
        return State(task), (*rules, Message("user", task.query))

    def use(self, state, call):
        """Runs a ToolCall, whose arguments have the tool's types -> (state, the result's text)."""
        text = calls.run(tasks.world(state.task), call)
        return state._replace(calls=(*state.calls, (call, text))), text

    def step(self, state, action):
        """Scores the answer that ends the task; info: every part of the utility, and validity."""
        found = utilities.utility(state.task, state.calls, action)
        counts = {"valid": float(found.valid), "calls": float(len(state.calls))}
        return Step(state, (), found.value, True, found.parts | counts)

    def answer(self, state):
        """What the scripted expert answers."""
        return expert.answer(state.task)

    def solve(self, state):
        """The scripted expert's whole trajectory: its calls, their results, its answer."""
        return expert.solve(state.task)
