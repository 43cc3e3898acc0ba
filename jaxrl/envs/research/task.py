"""What a task asks for. A topic's title decides its split, so no topic is in two splits."""

from typing import NamedTuple

from jaxrl.envs.base import share_of
from jaxrl.envs.research import corpus

KINDS = ("technical_writing", "ideation", "explanation")
SHARES = {"test": 0.1, "sft": 0.5, "rl": 0.4}  # of all topics
SIZES = {"sft": 2662, "rl": 2216, "test": 100}  # tasks, the paper's


class Task(NamedTuple):
    """One task. Documents are ids in the corpus."""

    kind: str
    corpus: str  # as sources.names reads it
    topic: int
    subjects: tuple[int, ...]  # that must be covered too; ideation: (), any that are related
    count: int  # how many of them
    low: int  # words of the report, at least
    high: int  # and at most
    query: str = ""  # as the user says it


def split(title):
    """The split that a topic's title puts it in."""
    return share_of(f"research/{title.casefold()}", SHARES)


def world(task):
    """The Corpus that a task's tools look into."""
    return corpus.open_corpus(task.corpus)


def topic(task):
    """The topic's Document."""
    return world(task).document(task.topic)


def subjects(task):
    """The Documents that count as covered beside the topic's."""
    ids = task.subjects or topic(task).related
    return [world(task).document(id) for id in ids]
