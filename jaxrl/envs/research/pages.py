"""HTML pages as plain text with their links: what a reader sees, without navigation.

    <h1>Heaps</h1><p>See <a href="bisect.html#x">bisect</a>.</p>

has two lines of text and one link, bisect.html.
"""

import html.parser
import posixpath
import re
from typing import NamedTuple

HIDDEN_TAGS = {"script", "style", "nav", "footer", "header", "title"}
HIDDEN_CLASSES = {"nosearch", "sphinxsidebar", "related", "footer", "headerlink", "menu"}
BLOCKS = {"p", "div", "li", "tr", "dt", "dd", "pre", "br", "table", "section", "blockquote"}
BLOCKS |= {f"h{n}" for n in range(1, 7)}
VOID = {"br", "hr", "img", "input", "meta", "link", "col", "wbr", "area", "base"}


class Page(NamedTuple):
    """What one HTML file says."""

    title: str
    text: str
    links: tuple[str, ...]  # paths of other files, relative to the same root


def read(source, path):
    """The Page of an HTML text that lies at `path` under its root."""
    reader = _Reader()
    reader.feed(source)
    reader.close()
    lines = (re.sub(r"[ \t]+", " ", line).strip() for line in "".join(reader.text).splitlines())
    folder = posixpath.dirname(path)
    found = {posixpath.normpath(posixpath.join(folder, link)) for link in reader.links}
    title = " ".join("".join(reader.title).split())
    return Page(title, "\n".join(filter(None, lines)), tuple(sorted(found - {path})))


class _Reader(html.parser.HTMLParser):
    """Collects text and links; what lies in a hidden element is passed over."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.text, self.title, self.links = [], [], []
        self._hidden, self._depth = (
            "",
            0,
        )  # the element that hides, and how deep in its likes we are
        self._verbatim = self._titled = False

    def handle_starttag(self, tag, attrs):
        """Hides, breaks the line, or notes a link."""
        named = dict(attrs)
        if self._hidden:
            self._depth += tag == self._hidden
        elif tag in HIDDEN_TAGS or HIDDEN_CLASSES & set((named.get("class") or "").split()):
            if tag not in VOID:
                self._hidden, self._depth = tag, 1
                self._titled = tag == "title" and not self.title
            return
        if self._hidden:
            return
        self._verbatim = self._verbatim or tag == "pre"
        if tag in BLOCKS:
            self.text.append("\n")
        link = (named.get("href") or "").partition("#")[0] if tag == "a" else ""
        if link and ":" not in link:
            self.links.append(link)

    def handle_endtag(self, tag):
        """Shows again, or breaks the line."""
        if self._hidden:
            self._depth -= tag == self._hidden
            self._hidden = self._hidden if self._depth else ""
            self._titled = self._titled and bool(self._hidden)
            return
        self._verbatim = self._verbatim and tag != "pre"
        if tag in BLOCKS:
            self.text.append("\n")

    def handle_data(self, data):
        """Text, with its line ends only where they are meant."""
        if self._titled:
            self.title.append(data)
        elif not self._hidden:
            self.text.append(data if self._verbatim else re.sub(r"\s+", " ", data))
