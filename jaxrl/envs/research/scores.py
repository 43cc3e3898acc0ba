"""The parts of a report's utility, each in [0, 1] with its formula. All are our choice.

The paper judges by model alone; these stand in for it where the truth must be known. What they
compare is words: a claim is supported if the words of what it cites are its own.
"""

from jaxrl.envs.research import task as tasks
from jaxrl.envs.research import tools, words

ENOUGH = 0.8  # of a claim's words that must stand in what it cites, for full support


def coverage(task, report):
    """Mean over the topic and `count` subjects of min(1, |keys in its claims| / (¾ |keys|)).

    The keys of a document are looked for in the claims that cite it, so that naming the subject is
    not enough. Where the user leaves the subjects open, the best `count` count.
    """
    subjects = sorted((_covered(d, report) for d in tasks.subjects(task)), reverse=True)
    return sum([_covered(tasks.topic(task), report), *subjects[: task.count]]) / (1 + task.count)


def support(report, evidence):
    """Σ n · min(1, s / ENOUGH) / Σ n over claims of n words, s of them in what it cites as seen."""
    total = supported = 0.0
    for claim in report.claims:
        own = set(words.terms(claim.text))
        seen = {w for id in claim.cited for w in words.terms(evidence.get(id, ""))}
        total += len(own)
        supported += len(own) * min(1.0, _share(own & seen, own) / ENOUGH)
    return supported / total if total else 0.0


def citations(report, found, opened):
    """Mean over the documents cited: 1 if opened, ½ if only found, 0 if neither."""
    values = [1.0 if id in opened else 0.5 * (id in found) for id in report.cited]
    return sum(values) / len(values) if values else 0.0


def cited(report):
    """The share of claims that cite anything."""
    return _share([c for c in report.claims if c.cited], report.claims)


def structure(task, report):
    """Mean of four: the title names the topic; enough sections; none empty; headings differ."""
    named = set(words.terms(tasks.topic(task).title)) <= set(words.terms(report.title))
    headings = [s.heading.casefold() for s in report.sections if s.heading]
    filled = all(s.claims for s in report.sections)
    flags = (named, len(headings) >= 1 + task.count, filled, len(set(headings)) == len(headings))
    return sum(flags) / 4 if report.title and headings else 0.0


def length(task, report):
    """1 from `low` to `high` words w; w / low below, max(0, 1 − (w − high) / high) above."""
    w = report.words
    return max(0.0, min(1.0, w / task.low, 1 - (w - task.high) / task.high))


def distinct(report):
    """(different claims) / (claims), compared by their words in order."""
    return _share({tuple(words.terms(c.text)) for c in report.claims}, report.claims)


def valid(report, found):
    """Whether the answer keeps the form: title, sections, and citations, all of documents seen."""
    sections = [s for s in report.sections if s.heading and s.claims]
    return bool(report.title and sections and report.cited) and report.cited <= found


def _covered(document, report):
    id = tools.name(document.id)
    said = {w for c in report.claims if id in c.cited for w in words.terms(c.text)}
    return min(1.0, 4 / 3 * _share(document.keys & said, document.keys))


def _share(part, whole):
    return len(part) / len(whole) if whole else 0.0
