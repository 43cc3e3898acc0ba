"""Q: 3 + 4 =        reply " 7": 1.0; scoring takes `seconds`, as a sandbox or a judge does."""

import dataclasses
import time

from jaxrl.envs.base import Step
from jaxrl.messages import Message


@dataclasses.dataclass(frozen=True)
class Slow:
    """Sums of two digits. Scoring sleeps: the work is done on another machine."""

    seconds: float = 0.2

    @property
    def stop(self):
        return ("\n",)

    def __len__(self):
        return 100

    def reset(self, index):
        a, b = divmod(index, 10)
        return index, (Message("prompt", f"Q: 1 + 2 =\nA: 3\nQ: {a} + {b} =\nA:"),)

    def step(self, state, action):
        time.sleep(self.seconds)
        return Step(state, (), float(action.strip() == self.answer(state)), True, {})

    def answer(self, state):
        return str(sum(divmod(state, 10)))
