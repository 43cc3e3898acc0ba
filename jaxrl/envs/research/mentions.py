"""Which documents name which others: an occurrence of a title in a text, as it is written.

"… directed by Tim Burton, and starring …"    names the document "Tim Burton"
"""

import collections
import re

SHORTEST = 5  # characters of a title; shorter ones are words
LONGEST = 8  # words of a title
PLAIN = re.compile(r"\w[\w .,'&-]*")  # titles with marks ("Smith!") would be found as other words


def find(documents):
    """For each document the indices of those it names, in order, as a list of tuples."""
    titled = {
        tuple(re.findall(r"\w+", d.title)): i
        for i, d in enumerate(documents)
        if len(d.title) >= SHORTEST and PLAIN.fullmatch(d.title)
    }
    lengths = collections.defaultdict(set)  # first word -> how many words such titles have
    for words in titled:
        if len(words) <= LONGEST:
            lengths[words[0]].add(len(words))
    lengths = {word: sorted(some, reverse=True) for word, some in lengths.items()}
    return [_named(i, d, documents, titled, lengths) for i, d in enumerate(documents)]


def _named(i, document, documents, titled, lengths):
    """The documents that one names; of titles that begin at one word, the longest."""
    words, found, at = re.findall(r"\w+", document.text), {}, 0
    while at < len(words):
        for n in lengths.get(words[at], ()):
            j = titled.get(tuple(words[at : at + n]))
            if j is not None and j != i and documents[j].title in document.text:
                found[j] = None
                at += n - 1
                break
        at += 1
    return tuple(found)
