"""Policies to compare with: task -> the assistant's and tools' messages, as expert.solve gives.

nothing answers at once and says nothing. random_tool searches for two words of the query at a time,
opens what it happens to find, and writes down random sentences with random citations.
"""

import itertools
import json

from jaxrl.envs import draws
from jaxrl.envs.research import calls, reports, words
from jaxrl.envs.research import task as tasks
from jaxrl.envs.research.reports import Claim, Report, Section
from jaxrl.messages import Message, ToolCall

SEARCHES, OPENS, SENTENCES = 3, 2, 6  # of random_tool


def nothing(task):
    """No call, no answer."""
    return (Message("assistant", ""),)


def random_tool(task, key="0"):
    """Random searches, random documents of their results, then a report; key: chooses them."""
    key = f"{key}/{task!r}"
    asked = words.terms(task.query)
    pairs = [" ".join(pair) for pair in itertools.pairwise(asked)]
    wanted = [
        ToolCall("search", {"query": query})
        for query in draws.sample(f"{key}/search", pairs, SEARCHES)
    ]
    first, made = _turn(task, wanted)
    seen = sorted(calls.found(made)) or ["d1"]
    wanted = [ToolCall("open", {"id": id}) for id in draws.sample(f"{key}/open", seen, OPENS)]
    second, read = _turn(task, wanted)
    said = [s for _, text in read for s in words.sentences(json.loads(text)["text"])]
    claims = tuple(
        Claim(text, (draws.pick(f"{key}/cite/{text}", seen),))
        for text in draws.sample(f"{key}/said", said, SENTENCES)
    )
    report = Report(" ".join(draws.sample(f"{key}/title", asked, 3)), (Section("Notes", claims),))
    return (*first, *second, Message("assistant", reports.write(report)))


def _turn(task, wanted):
    made = [(call, calls.run(tasks.world(task), call)) for call in wanted]
    turn = Message("assistant", "", tuple(wanted))
    return [turn, *(Message("tool", text) for _, text in made)], made
