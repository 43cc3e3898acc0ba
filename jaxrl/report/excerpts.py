"""Text of a model or a tool as the page shows it: none hides, moves others or fills the page."""

import re

from jaxrl.chat.text import cut

# Controls but tab and line ends, halves of surrogate pairs, marks that reorder what is around them.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
    "\ufeff\U000e0000-\U000e007f]"
)


def visible(text):
    """`text` with every character that is not seen, or moves others, written as ‹U+202E›."""
    return _UNSEEN.sub(lambda found: f"‹U+{ord(found[0]):04X}›", text)


def excerpt(text, most):
    """At most `most` characters of `text`, its two ends; says how many are left out."""
    return visible(cut(text, most))


def fair(lengths, total):
    """The largest limit for which Σ min(length, limit) ≤ total: the longest are cut first."""
    left = total
    for done, length in enumerate(sorted(lengths)):
        share = left // (len(lengths) - done)
        if length > share:
            return share
        left -= length
    return total
