"""Pages of keys and values, and who reads them: the one mechanism for reuse of what was computed.

A page holds `size` neighbouring tokens. One that is full is known by its tokens and by the page
before it, so a prompt that begins like an earlier one finds its pages: the samples of a group, the
next turn of a conversation, a system prompt that all tasks share. Nobody writes to such a page. One
that nobody reads stays until its room is needed, the longest unread first.

Here is the book-keeping, on the host; the arrays are engine_step.py's.
"""

import collections
import dataclasses

import numpy as np

ROOT = 0  # the page before the first


@dataclasses.dataclass
class _Page:
    readers: int = 0
    serial: int | None = None  # of what it holds, once known; numbers are never used twice
    key: tuple[int, bytes] | None = None


class Pages:
    """n pages of `size` tokens; a table is the list of pages that a sequence reads, in order."""

    def __init__(self, n, size):
        self.size = size
        self._pages = [_Page() for _ in range(n)]
        self._empty = list(range(n))[::-1]
        self._known = {}  # (serial of the page before, tokens) -> page
        self._unread = collections.OrderedDict()  # known pages without a reader, oldest first
        self._serials = ROOT
        self.evicted = 0

    @property
    def room(self):
        """Pages that a sequence could still get."""
        return len(self._empty) + len(self._unread)

    def find(self, tokens):
        """The known pages that `tokens` begin with, now read by one more; release them after."""
        table = [page for page, _ in self._walk(tokens)]
        for page in table:
            self._pages[page].readers += 1
            self._unread.pop(page, None)
        return table

    def known(self, tokens):
        """How many of the first tokens `find` would give."""
        return sum(1 for _ in self._walk(tokens)) * self.size

    def grow(self, table, length):
        """Appends empty pages until the table holds `length` tokens; False if there is no room."""
        need = -(-length // self.size) - len(table)
        if need > self.room:
            return False
        for _ in range(need):
            page = self._empty.pop() if self._empty else self._evict()
            self._pages[page].readers = 1
            table.append(page)
        return True

    def publish(self, table, tokens):
        """Says what the table's full pages hold, so that others find them.

        tokens: those whose keys and values are written, from the first on. Where a page of the same
        tokens is known already, the older one stays known.
        """
        before = ROOT
        for page, key_tokens in zip(table, self._cut(tokens), strict=False):
            key = before, key_tokens
            if key not in self._known:
                self._serials += 1
                self._pages[page].serial, self._pages[page].key = self._serials, key
                self._known[key] = page
            before = self._pages[self._known[key]].serial

    def release(self, table):
        """One reader less of each page; those that hold nothing known are empty again."""
        for page in reversed(table):  # the end of a sequence is let go before its beginning
            held = self._pages[page]
            held.readers -= 1
            if held.readers == 0 and held.key is None:
                self._empty.append(page)
            elif held.readers == 0:
                self._unread[page] = None

    def forget(self):
        """Other weights: nothing that is held may be found again. Readers keep their pages."""
        self._known.clear()
        for page in self._pages:
            page.serial = page.key = None
        self._empty += self._unread
        self._unread.clear()

    def _walk(self, tokens):
        before = ROOT
        for key_tokens in self._cut(tokens):
            page = self._known.get((before, key_tokens))
            if page is None:
                return
            before = self._pages[page].serial
            yield page, before

    def _cut(self, tokens):
        tokens = np.asarray(tokens, np.int32)
        whole = len(tokens) // self.size
        return [part.tobytes() for part in tokens[: whole * self.size].reshape(whole, self.size)]

    def _evict(self):
        page, _ = self._unread.popitem(last=False)
        del self._known[self._pages[page].key]
        self._pages[page] = _Page()
        self.evicted += 1
        return page
