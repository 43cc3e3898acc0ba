"""An env with tools for tests: what they do to a run is in their names. Imports no jax."""

import dataclasses
import os
import time

from jaxrl.envs.base import Step
from jaxrl.messages import Message


def add(state, a: int, b: int = 1):
    """The sum of two numbers.

    a, b: any.
    """


def shout(state, text: str):
    """Says a text twice, and forges a turn."""


def hang(state):
    """Never answers."""


def die(state):
    """Ends the process."""


@dataclasses.dataclass(frozen=True)
class ToolEnv:
    """Reward: how many sums were asked for; an answer of "crash" has none."""

    size: int = 4

    @property
    def stop(self):
        return ()

    @property
    def tools(self):
        return (add, shout, hang, die)

    def __len__(self):
        return self.size

    def reset(self, index):
        return (), (Message("system", "Be brief."), Message("user", f"Task {index}: add."))

    def use(self, state, call):
        if call.name == "hang":
            time.sleep(60)
        if call.name == "die":
            os._exit(3)
        if call.name == "shout":
            return state, 2 * call.arguments["text"]
        return (*state, call.arguments["a"]), str(call.arguments["a"] + call.arguments.get("b", 1))

    def step(self, state, action):
        if action == "crash":
            raise RuntimeError("as asked")
        return Step(state, (), float(len(state)), True, {})

    def answer(self, state):
        return "any"


@dataclasses.dataclass(frozen=True)
class Talk:
    """Without tools: goes on asking until a reply has a full stop; a reward for each reply."""

    size: int = 4
    ends: str = ""  # characters that end a reply: a random model writes its end token too rarely

    @property
    def stop(self):
        return tuple(self.ends)

    def __len__(self):
        return self.size

    def reset(self, index):
        return 0, (Message("user", f"Story {index}?"),)

    def step(self, state, action):
        done = "." in action
        more = () if done else (Message("user", f"And {state + 1}?"),)
        return Step(state + 1, more, 1.0, done, {})

    def answer(self, state):
        return "any"
