"""The scripted expert: searches, opens what it needs, then quotes it section by section.

Its turns make SFT data, its answers are the references. Each call really runs, and the report is
written from what the results said.
"""

import functools
import json

from jaxrl.envs.research import calls, reports, tools, words
from jaxrl.envs.research import task as tasks
from jaxrl.envs.research.reports import Claim, Report, Section
from jaxrl.messages import Message, ToolCall

QUOTES = 4  # sentences of a document, at most
COUNT = 6  # rows of a search


@functools.lru_cache(maxsize=1024)
def solve(task):
    """The assistant's and the tools' messages from the query to the final answer, as a tuple."""
    topic, subjects = tasks.topic(task), _subjects(task)
    turns, _ = _turn(task, _plan(task, topic, subjects), [_search(task, topic)])
    then = [_search(task, d) for d in subjects]
    more, _ = _turn(task, f"Next: {_listed(subjects)}.", then)
    read, results = _turn(
        task,
        "These answer the question; I read them.",
        [ToolCall("open", {"id": tools.name(d.id)}) for d in (topic, *subjects)],
    )
    answer = reports.write(_report(task, topic, [json.loads(text) for text in results]))
    return (*turns, *more, *read, Message("assistant", answer))


def answer(task):
    """The text of the expert's final answer."""
    return solve(task)[-1].content


def _plan(task, topic, subjects):
    """What the first turn says; it cannot name subjects that the search has yet to bring up."""
    more = _listed(subjects) if task.subjects else f"{task.count} subjects connected with it"
    return (
        f"My plan: find out what {topic.title} is, then look into {more}, read on each, and write "
        f"a section on each, {task.low} to {task.high} words in all."
    )


def _turn(task, text, wanted):
    """One turn with its calls: (messages, results)."""
    results = [calls.run(tasks.world(task), call) for call in wanted]
    messages = [Message("assistant", text, tuple(wanted))]
    return [*messages, *(Message("tool", r) for r in results)], results


def _subjects(task):
    """The subjects asked for; where that is open, those the first search lists, then any."""
    documents = tasks.subjects(task)
    if task.subjects:
        return documents
    listed = [row.id for row in tasks.world(task).search(tasks.topic(task).title, COUNT)]
    rank = lambda d: listed.index(d.id) if d.id in listed else len(listed)
    return sorted(documents, key=rank)[: task.count]


def _search(task, document):
    """A search that lists the document: by title, with the topic or with key words if need be."""
    title, topic = document.title, tasks.topic(task).title
    queries = (title, f"{title} {topic}", " ".join([title, *sorted(document.keys)]))
    lists = lambda query: document.id in [row.id for row in tasks.world(task).search(query, COUNT)]
    query = next(filter(lists, queries), queries[-1])
    return ToolCall("search", {"query": query[: tools.LONGEST], "count": COUNT})


def _listed(documents):
    return ", ".join(d.title for d in documents)


def _report(task, topic, opened):
    """The pages opened, quoted: a section for each, within the length."""
    sections = [
        Section(page["title"], tuple(Claim(s, (page["id"],)) for s in chosen))
        for page, chosen in zip(opened, _quotes(task, opened), strict=True)
    ]
    return Report(f"{topic.title}: a report", tuple(sections))


def _quotes(task, opened):
    """Sentences of each page: what tells most of every page first, then more, within the length."""
    telling = [_telling(task, page) for page in opened]
    quoted = [some[:1] for some in telling]
    for n in range(1, QUOTES):
        for chosen, some in zip(quoted, telling, strict=True):
            if n < len(some) and _count(quoted) + len(some[n].split()) <= task.high:
                chosen.append(some[n])
    for chosen, page in zip(quoted, opened, strict=True):
        for sentence in words.sentences(page["text"]):
            if _count(quoted) < task.low and sentence not in chosen:
                chosen.append(sentence)
    return quoted


def _telling(task, page):
    """The sentences of a page that add key words of its document, in order."""
    keys = set(tasks.world(task).document(tools.number(page["id"])).keys)
    found = []
    for sentence in words.sentences(page["text"]):
        if new := keys & set(words.terms(sentence)):
            found.append(sentence)
            keys -= new
    return found


def _count(quoted):
    """How many words the sentences have in all."""
    return sum(len(sentence.split()) for chosen in quoted for sentence in chosen)
