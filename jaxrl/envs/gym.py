"""Environments of Gymnasium whose world can be told in text: games of many turns, without tools.

    env.name = "gymnasium"
    env.params = {"id": "FrozenLake-v1", "actions": ("left", "down", "right", "up")}

What is shown is the environment's own text rendering ("ansi", with brackets for colours), or its
observation where that is text. The policy answers with the name of an action, or its number; what
names none costs it a turn. A state is (seed, actions so far): a step plays them anew, so that
states are values here too. That is exact where a seed fixes all that chance does, which Gymnasium
asks of its environments.
"""

import contextlib
import dataclasses
import re
from typing import Any, NamedTuple

from jaxrl.envs.base import Step, choose
from jaxrl.messages import Message

SPLITS = {"train": 0, "held_out": 1 << 30}  # the first seed
MARKED = re.compile("\x1b\\[[1-9][0-9;]*m(.*?)\x1b\\[0m")  # by a colour: where the player stands


class State(NamedTuple):
    """Where a game stands."""

    seed: int
    actions: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Gym:
    """`size` games of one environment, told apart by their seeds. The reward is the game's own."""

    id: str
    actions: tuple[str, ...] = ()  # the names of actions 0, 1, …; () = their numbers
    rules: str = ""  # said once, before the first picture
    size: int = 1024
    split: str = "train"  # or held_out: other seeds
    options: dict[str, Any] = dataclasses.field(default_factory=dict)  # of gymnasium.make

    def __post_init__(self):
        choose("split", self.split, SPLITS)
        if self.size < 1:
            raise ValueError(f"size = {self.size!r} must be positive")
        with self._open() as env:
            count = getattr(env.action_space, "n", None)
            text = "Text" in type(env.observation_space).__name__
            if not text and "ansi" not in env.metadata.get("render_modes", ()):
                raise ValueError(
                    f"id = {self.id!r} shows no text: take one whose observation is text, or that "
                    'has the render mode "ansi"'
                )
            if count is None:
                raise ValueError(f"id = {self.id!r} has no numbered actions: no text names one")
            if len(self.actions) not in (0, count):
                raise ValueError(f"actions = {self.actions!r}: {self.id} has {count}; name all")

    def __len__(self):
        return self.size

    @property
    def stop(self):
        """Turns end with the model's own end token."""
        return ()

    def reset(self, index):
        """Game `index`, and its first picture."""
        if not 0 <= index < self.size:
            raise IndexError(f"task {index} of {self.size}: raise size, or take a lower index")
        state = State(SPLITS[self.split] + index)
        with self._played(state) as (_, picture, *_):
            rules = (Message("system", self.rules),) if self.rules else ()
            return state, (*rules, Message("user", f"{picture}\n{self._asked()}"))

    def step(self, state, action):
        """Plays the action that a reply names; info: whether it named one."""
        number = self._named(action)
        if number is None:
            again = Message("user", f"That names no action. {self._asked()}")
            return Step(state, (again,), 0.0, False, {"unnamed": 1.0})
        state = state._replace(actions=(*state.actions, number))
        with self._played(state) as (_, picture, reward, done):
            told = () if done else (Message("user", f"{picture}\n{self._asked()}"),)
            return Step(state, told, float(reward), done, {"unnamed": 0.0})

    def answer(self, state):
        """A game has no reference answer."""
        return ""

    def _open(self):
        import gymnasium  # an extra: only who plays needs it

        modes = gymnasium.spec(self.id).kwargs | self.options
        text = {} if "render_mode" in modes else {"render_mode": "ansi"}
        return contextlib.closing(
            gymnasium.make(self.id, disable_env_checker=True, **text | self.options)
        )

    @contextlib.contextmanager
    def _played(self, state):
        """(environment, its picture, the last reward, whether it is over) after all actions."""
        with self._open() as env:
            seen, _ = env.reset(seed=state.seed)
            reward, done = 0.0, False
            for action in state.actions:
                seen, reward, over, cut, _ = env.step(action)
                done = bool(over or cut)
            yield env, self._picture(env, seen), reward, done

    def _picture(self, env, seen):
        shown = seen if isinstance(seen, str) else env.render()
        return MARKED.sub(r"[\1]", shown).strip("\n")

    def _asked(self):
        return f"Answer with one of: {', '.join(self.actions)}." if self.actions else "Your move?"

    def _named(self, text):
        """The number of the action that a reply names last, None if it names none."""
        names = self.actions or [str(n) for n in range(self._count())]
        found = re.findall(rf"\b({'|'.join(map(re.escape, names))})\b", text, re.IGNORECASE)
        return [name.lower() for name in names].index(found[-1].lower()) if found else None

    def _count(self):
        with self._open() as env:
            return int(env.action_space.n)
