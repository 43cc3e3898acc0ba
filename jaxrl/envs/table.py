"""The envs by name. One of your own needs no line here: name it "module:Class"."""

import importlib
import inspect

from jaxrl.envs import gym, jsonl, reasoning
from jaxrl.envs.base import choose
from jaxrl.envs.research import env as research
from jaxrl.envs.travel import env as travel

ENVS = {
    "gymnasium": gym.Gym,
    "jsonl": jsonl.Jsonl,
    "open_deepresearch": research.OpenDeepResearch,
    "open_travel": travel.OpenTravel,
    "reasoning_gym": reasoning.ReasoningGym,
}


def build(name, params):
    """The env called `name`, made with the keyword arguments `params`; both are checked first."""
    if ":" in name:
        module, _, attribute = name.partition(":")
        make = vars(importlib.import_module(module))[attribute]
    else:
        make = ENVS[choose("env.name", name, ENVS)]
    known = inspect.signature(make).parameters
    for key, value in params.items():
        choose(f"a key of env.params for {name}", key, known)
        _check_type(f"env.params.{key}", value, known[key].default)
    required = {k for k, p in known.items() if p.default is p.empty}
    if missing := sorted(required - set(params)):
        raise KeyError(f"env.params for {name} lacks {', '.join(missing)}")
    return make(**params)


def _check_type(key, value, default):
    wanted = (int, float) if isinstance(default, float) else type(default)
    plain = isinstance(default, str | bool | int | float)
    if plain and (
        not isinstance(value, wanted) or isinstance(value, bool) != isinstance(default, bool)
    ):
        raise TypeError(f"{key} = {value!r} must be of type {type(default).__name__}")
