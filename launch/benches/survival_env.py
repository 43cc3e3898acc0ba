"""Tasks whose scorer breaks where it is told to, for the survival bench. Imports no jax."""

import ctypes
import dataclasses
import itertools
import os
import time

from jaxrl.envs.base import Step, choose
from jaxrl.messages import Message

FLOOD = 100_000_000  # bytes


HUGE = itertools.cycle((3e38, -3e38))  # float32 holds them, but not their squares


def _raise():
    raise RuntimeError("the scorer is broken")


def _flood():
    for _ in range(FLOOD // 1_000_000):
        os.write(1, b"x" * 1_000_000)


FAULTS = {  # what happens in the scorer; what it returns becomes the reward, None = the true one
    "": lambda: None,
    "raise": _raise,
    "hang": lambda: time.sleep(1000),
    "exit": lambda: os._exit(3),
    "segfault": lambda: ctypes.string_at(0),
    "flood": _flood,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "text": lambda: "1.0",
    "huge": lambda: next(HUGE),
}


@dataclasses.dataclass(frozen=True)
class Faulty:
    """Reward: the parity of the reply's bytes. Tasks i with i % every == first have the fault."""

    size: int = 128
    split: str = "train"
    fault: str = ""
    every: int = 32
    first: int = 0

    def __post_init__(self):
        choose("fault", self.fault, FAULTS)

    @property
    def stop(self):
        return ("\n",)

    def __len__(self):
        return self.size

    def reset(self, index):
        return index, (Message("prompt", f"{self.split[0]}{index}:"),)

    def step(self, state, action):
        broken = self.split == "train" and state % self.every == self.first
        given = FAULTS[self.fault]() if broken else None
        reward = float(sum(action.encode()) % 2) if given is None else given
        return Step(state, (), reward, True, {})

    def answer(self, state):
        return "any"
