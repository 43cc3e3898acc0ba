"""Words of a text as utilities compare them, and its sentences."""

import re

STOP = frozenset(
    """a about after all also an and any are as at be been before between both but by can could did
    do does each for from had has have he her his how i if in into is it its may more most no not
    of on one only or other our over s she so some such than that the their them then there these
    they this those through to two under up used using was we were what when where which while who
    will with would you your""".split()
)
_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(]?[A-Z0-9])|\n+")
_SHORT = re.compile(
    r"(?:\b[A-Z]|\b(?:Mr|Mrs|Ms|Dr|St|Jr|Sr|vs|e\.g|i\.e|No|Vol|Inc|Ltd|Co|etc))\.$"
)


def terms(text):
    """The words that carry meaning, small, plural s dropped, in order."""
    return [_stem(w) for w in re.findall(r"\w+", text.casefold()) if w not in STOP and len(w) > 1]


def sentences(text):
    """The whole sentences: those of 5 to 60 words that end like one; headings and code are not."""
    found, start = [], 0
    for end in _END.finditer(text):
        if "\n" in end[0] or not _SHORT.search(text[start : end.start()]):
            found.append(text[start : end.start()])
            start = end.end()
    found.append(text[start:])
    found = [" ".join(s.split()) for s in found]
    return [s for s in found if s.endswith((".", "!", "?")) and 5 <= len(s.split()) <= 60]


def _stem(word):
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
