"""Tasks drawn from a text key: a topic of the split, related subjects, a length, the words.

draw("hotpotqa", 0, "test", "ideation", 17)    always the same Task; its topic lies in "test"
"""

import functools

from jaxrl.envs import draws
from jaxrl.envs.base import place
from jaxrl.envs.research import corpus, phrasing, sources
from jaxrl.envs.research import task as tasks
from jaxrl.envs.research.task import Task

SUBJECTS = {"technical_writing": (2, 3), "ideation": (2, 3), "explanation": (1, 2)}
LENGTHS = {  # words, at least and at most: the shortest two documents have some 80
    "technical_writing": ((80, 400), (80, 500), (60, 350)),
    "ideation": ((80, 400), (80, 500), (60, 350)),
    "explanation": ((40, 150), (40, 200), (50, 250)),
}


@functools.lru_cache(maxsize=8192)
def draw(names, seed, split, kind, index):
    """Task `index` of a split; whatever the kinds, a topic comes again only after all others."""
    topics = pool(names, split, kind)
    if not topics:
        raise ValueError(
            f"corpus = {names!r} has no topic for split {split!r}: a topic needs a document with "
            "three related ones; name a larger corpus"
        )
    key = f"research/{seed}/{split}/{kind}/{index}"
    found = corpus.open_corpus(names).document(topics[(index + seed) % len(topics)])
    count = draws.integer(f"{key}/count", *SUBJECTS[kind])
    named = () if kind == "ideation" else draws.sample(f"{key}/subjects", found.related, count)
    low, high = draws.pick(f"{key}/length", LENGTHS[kind])
    task = Task(kind, names, found.id, named, count, low, high)
    return task._replace(query=phrasing.query(key, task))


@functools.lru_cache(maxsize=32)
def pool(names, split, kind):
    """The ids of the topics of a split and kind, in a fixed random order.

    Technical writing is about technical documentation, if the corpus has any.
    """
    listed = [t for t in corpus.open_corpus(names).topics() if tasks.split(t[1]) == split]
    technical = [t for t in listed if t[2] in sources.TECHNICAL]
    if kind == "technical_writing" and technical:
        listed = technical
    return tuple(id for id, title, _ in sorted(listed, key=lambda t: place(f"order/{t[1]}")))
