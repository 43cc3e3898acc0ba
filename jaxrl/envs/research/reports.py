"""The form of an answer: a title, sections, and claims that cite the documents they come from.

    # Mickey Mouse
    ## Origins
    He was created by Walt Disney and Ub Iwerks in 1928 [d2, d40]. His voice … [d2].

A claim is the text up to its citation. Parsing is lenient: marks of lists and of bold type are no
matter, and a list of sources at the end is passed over.
"""

import re
from typing import NamedTuple

LONGEST = 60_000  # characters that are read
FEWEST = 3  # words of a claim; less is punctuation between citations
LISTS = ("source", "sources", "reference", "references", "bibliography")
FORM = """\
Finish with a report in this form, and nothing before or after it:
# Title that names the topic
## Heading of a section
Sentences, each or a few together followed by the ids of the documents they rest on [d17]. \
Several ids are written [d17, d4].
Give the topic a section and every further subject one of its own. Cite nothing that you have not \
opened, write nothing that the cited documents do not say, and do not repeat yourself."""
_CITED = re.compile(r"\[ ?(d[0-9]{1,9}(?: ?[,;] ?d[0-9]{1,9})*) ?\][.,;:!?]?")


class Claim(NamedTuple):
    """Text with the ids it cites."""

    text: str
    cited: tuple[str, ...]


class Section(NamedTuple):
    """What stands under a heading; text before the first one has the heading ""."""

    heading: str
    claims: tuple[Claim, ...]


class Report(NamedTuple):
    """A whole report."""

    title: str
    sections: tuple[Section, ...]

    @property
    def claims(self):
        return tuple(claim for section in self.sections for claim in section.claims)

    @property
    def cited(self):
        """The ids of all documents cited, as a set."""
        return {id for claim in self.claims for id in claim.cited}

    @property
    def words(self):
        """How many words the claims have in all."""
        return sum(len(claim.text.split()) for claim in self.claims)


def parse(text):
    """A text -> its Report. Never raises."""
    title, sections = "", [("", [])]
    for line in text[:LONGEST].splitlines():
        line = line.strip()
        if line.startswith("# ") and not title:
            title = _plain(line)
        elif line.startswith("#"):
            sections.append((_plain(line), []))
        else:
            sections[-1][1].extend(_claims(line))
    kept = [Section(heading, tuple(claims)) for heading, claims in sections]
    kept = [s for s in kept if s.heading.casefold() not in LISTS and (s.heading or s.claims)]
    return Report(title, tuple(kept))


def write(report):
    """A Report -> its text, which parse gives back."""
    lines = [f"# {report.title}"]
    for section in report.sections:
        lines.append(f"## {section.heading}")
        lines.append(" ".join(f"{c.text} [{', '.join(c.cited)}]" for c in section.claims))
    return "\n".join(lines)


def _claims(line):
    """The claims of a line: text that is followed by a citation, or that ends the line."""
    claims, start = [], 0
    for match in _CITED.finditer(line):
        text = _plain(line[start : match.start()])
        ids = tuple(re.findall(r"d[0-9]+", match[1]))
        if len(text.split()) >= FEWEST:
            claims.append(Claim(text, ids))
        elif claims:  # "[d1] and [d2]": one claim with both
            claims[-1] = claims[-1]._replace(cited=claims[-1].cited + ids)
        start = match.end()
    rest = _plain(line[start:])
    return [*claims, Claim(rest, ())] if len(rest.split()) >= FEWEST else claims


def _plain(text):
    return text.strip(" \t#*_•-").strip()
