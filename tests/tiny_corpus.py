"""A corpus of 72 invented documents that name each other, for tests of research tasks."""

import json

import pytest

from jaxrl.envs import draws
from jaxrl.envs.research import build, topics
from jaxrl.envs.research import task as tasks

NUMBER = 72
SYLLABLES = (
    "ba",
    "ce",
    "di",
    "fo",
    "gu",
    "ha",
    "je",
    "ki",
    "lo",
    "mu",
    "na",
    "pe",
    "ri",
    "so",
    "tu",
)


def word(key, count=4):
    """An invented word."""
    return "".join(draws.pick(f"{key}/{i}", SYLLABLES) for i in range(count))


def title(i):
    """The title of document i."""
    return f"{word(f'first/{i}', 3).title()} {word(f'last/{i}', 3).title()}"


def document(i):
    """Document i: five sentences with words of its own, naming four others."""
    others = [title((i + step) % NUMBER) for step in (1, 5, 11, 20)]
    own = [word(f"own/{i}/{n}") for n in range(24)]
    sentences = [
        f"{title(i)} is the {own[0]} {own[1]} of {own[2]} and {own[3]}, near {others[0]}.",
        f"It was {own[4]} by the {own[5]} {own[6]} in {1500 + i}, as {others[1]} had been.",
        f"The {own[7]} of {own[8]} made it {own[9]} beyond {own[10]}.",
        f"Later {others[2]} took {own[11]} {own[12]} from its {own[13]}.",
        f"Today {others[3]} keeps the {own[14]} and the {own[15]} {own[16]} of {own[17]}.",
    ]
    return {"title": title(i), "text": " ".join(sentences)}


def write(folder):
    """Writes the corpus into a folder; returns its name as the env's `corpus` takes it."""
    path = folder / "tiny.jsonl"
    path.write_text("".join(json.dumps(document(i)) + "\n" for i in range(NUMBER)))
    return str(path)


def install(factory):
    """The name of the corpus, its index built in a folder of the tests. factory: pytest's."""
    name = write(factory.mktemp("corpus"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXRL_CACHE", str(factory.mktemp("cache")))
        build.path(name)  # remembered in this process; others are told by `cache`
    return name


def cache(name):
    """The environment that lets other processes find the index."""
    return {"JAXRL_CACHE": str(build.path(name).parent)}


def task(name, split, i, seed=0):
    """Task i of a split, the kinds in turn."""
    return topics.draw(name, seed, split, tasks.KINDS[i % 3], i)
