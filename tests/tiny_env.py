"""An env whose rewards are cheap, deterministic and vary inside a group; imports no jax."""

import dataclasses

from jaxrl.envs.base import Step
from jaxrl.messages import Message


@dataclasses.dataclass(frozen=True)
class Parity:
    """Reward: the parity of the reply's bytes. Tasks below `dull` give 1 to all."""

    size: int = 16
    dull: int = 0
    split: str = "train"

    @property
    def stop(self):
        return ("\n",)

    def __len__(self):
        return self.size

    def reset(self, index):
        return index, (Message("prompt", f"{self.split[0]}{index}:"),)

    def step(self, state, action):
        reward = 1.0 if state < self.dull else float(sum(action.encode()) % 2)
        return Step(state, (), reward, True, {})

    def answer(self, state):
        return "any"
