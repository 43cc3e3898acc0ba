"""Open-Travel: tasks that need the tools of a simulated world with real geography.

    user       Find 2 cafe options within 3 km of Jade Swan Bazaar in Porto, open on …
    assistant  around_search(near="Jade Swan Bazaar, Porto", category="cafe", …)
    tool       [{"name": "Linden Phoenix Cafe", … "km": 0.52}, …]
    assistant  PICK: Linden Phoenix Cafe …            reward: the utility, 0 to 1

Five task types as in ArenaRL (arXiv:2601.06487); multi_day is held out of the sft split.
"""

import dataclasses
from typing import NamedTuple

from jaxrl.envs.base import Step, choose
from jaxrl.envs.travel import answers, calls, expert, sketches, tools
from jaxrl.envs.travel import task as tasks
from jaxrl.envs.travel import utility as utilities
from jaxrl.messages import Message, ToolCall

SYSTEM = f"""\
You are a travel assistant. Look things up with the tools before you decide: they alone know \
places, opening hours, ways, flights, trains and prices. Times are local, money is in USD. Days \
begin at the hotel or the named start. Lunch begins between 11:30 and 14:30. Unless other hours \
are given, a day runs from 09:00 to 20:00. On a journey, begin 60 minutes after you arrive and be \
done 90 minutes before you leave. COST is tickets, meals, fares in town, trips and nights.
{answers.FORM}"""


class State(NamedTuple):
    """A task, and every call made so far with its result."""

    task: tasks.Task
    calls: tuple[tuple[ToolCall, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class OpenTravel:
    """The tasks of one split, its kinds in turn; task i is the same in every process."""

    split: str = "rl"  # sft, rl or test
    size: int = 0  # tasks; 0 = as many as in the paper: sft 2600, rl 1626, test 250
    seed: int = 0  # of the world and of the tasks
    only: tuple[str, ...] = ()  # types of tasks; () = all of the split
    brief: bool = False  # for small policies: prompts without the rules, results in fewer tokens

    def __post_init__(self):
        choose("split", self.split, tasks.SIZES)
        for kind in self.only:
            choose("only", kind, tasks.KINDS)
        if not self.kinds:
            raise ValueError(
                f"only = {self.only!r} leaves no task in split {self.split!r}: add one"
            )
        if self.size < 0:
            raise ValueError(f"size = {self.size!r} must be positive, or 0 for the paper's size")

    def __len__(self):
        return self.size or tasks.SIZES[self.split]

    @property
    def stop(self):
        """Turns end with the model's own end token."""
        return ()

    @property
    def kinds(self):
        """The task types of the split, in the order of the tasks."""
        held_out = tasks.HELD_OUT if self.split == "sft" else ""
        wanted = self.only or tasks.KINDS
        return tuple(kind for kind in tasks.KINDS if kind in wanted and kind != held_out)

    @property
    def tools(self):
        """The functions an agent may call; their first argument is the world, which `use` gives."""
        return tools.TOOLS

    def reset(self, index):
        """Task `index` and its prompt."""
        if not 0 <= index < len(self):
            raise IndexError(f"task {index} of {len(self)}: raise size, or take a lower index")
        number, kind = divmod(index, len(self.kinds))
        task = sketches.draw(self.seed, self.split, self.kinds[kind], number)
        rules = () if self.brief else (Message("system", SYSTEM),)
        return State(task), (*rules, Message("user", task.query))

    def use(self, state, call):
        """Runs a ToolCall, whose arguments have the tool's types -> (state, the result's text)."""
        text = calls.run(tasks.world(state.task), call)
        return state._replace(calls=(*state.calls, (call, text))), self._shown(text)

    def step(self, state, action):
        """Scores the answer that ends the task; info: every part of the utility."""
        found = utilities.utility(state.task, state.calls, action)
        counts = {"malformed": float(found.malformed), "calls": float(len(state.calls))}
        return Step(state, (), found.value, True, found.parts | counts)

    def answer(self, state):
        """What the scripted expert answers."""
        return expert.answer(state.task)

    def solve(self, state):
        """The scripted expert's whole trajectory: its calls, their results, its answer."""
        said = expert.solve(state.task)
        shown = lambda m: m._replace(content=self._shown(m.content)) if m.role == "tool" else m
        return [shown(m) for m in said]

    def _shown(self, result):
        return calls.terse(result) if self.brief else result
