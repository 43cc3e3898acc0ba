"""A judge's reply to numbers: never raises, says why it failed.

What is accepted: one JSON object with the keys asked for, alone, in a code fence, or with prose
around it; thoughts before a closing </think> are passed over. What is refused rather than guessed,
so that the judge is asked again: anything that begins like an object and does not decode (a
trailing comma, a reply cut off), two verdicts that differ (one may be quoted from what is judged),
a key given twice, a number in quotes, and scores off the scale, which ArenaRL's released code
would take as they stand. Agents' names are read in any case, as there; `winner` is not read.
"""

import json
import math
import re

from jaxrl.chat.text import split

MOST = 200_000  # characters of a reply; a verdict has some 2,000
FAILURES = (
    "empty",
    "too_long",
    "not_json",  # no object, or one that does not decode
    "no_verdict",  # objects, but none with the key asked for
    "several",  # verdicts that differ
    "no_scores",  # not all that was asked for is there
    "not_a_number",
    "out_of_range",
)
_OBJECT = re.compile(r'\{\s*["}]')  # braces in prose begin otherwise


class Refused(ValueError):
    """A reply is no verdict: args[0] is one of FAILURES. No caller sees it."""


def pairwise(text, low, high):
    """((score of Agent_A, of Agent_B) in tenths, the object); or (None, why), one of FAILURES.

    Scores are `combined_scores`, from low to high, rounded to one decimal, halves up.
    """
    return _tried(lambda: _pair(find(text, "combined_scores"), low, high))


def pointwise(text, asked, low, high):
    """({part: its scores in the order asked}, the object); or (None, why), one of FAILURES.

    asked: {key of the object: names of the dimensions}, such as {"answer_scores": ("clarity",)}.
    """
    return _tried(lambda: _parts(find(text, next(iter(asked))), asked, low, high))


def dimension(verdict, key, agent, name, low, high):
    """One agent's score on one dimension of a pairwise verdict; NaN if it is missing or amiss."""
    try:
        return float(_in_range(_named(verdict, key, agent, name), low, high))
    except Refused:
        return math.nan


def find(text, key):
    """The one object of a reply that has `key`; raises Refused."""
    if len(text) > MOST:
        raise Refused("too_long")
    text = split(text)[1]
    if not text:
        raise Refused("empty")
    objects = list(_objects(text))
    found = [x for x in objects if _holding(x, key)]
    if not found:
        raise Refused("no_verdict" if objects else "not_json")
    if any(_named(x, key) != _named(found[0], key) for x in found):
        raise Refused("several")
    return found[0]


def half_up(x):
    """The nearest whole number, halves upwards: Python's own rounding takes 7.5 and 8.5 to 8."""
    return math.floor(x + 0.5)


def _tried(read):
    try:
        return read()
    except Refused as e:
        return None, e.args[0]
    except RecursionError:  # in comparing what was nested just below the decoder's limit
        return None, "not_json"


def _pair(verdict, low, high):
    scores = _named(verdict, "combined_scores")
    both = (_in_range(_named(scores, agent), low, high) for agent in ("Agent_A", "Agent_B"))
    return tuple(half_up(10 * score) for score in both), verdict


def _parts(verdict, asked, low, high):
    read = lambda key, name: float(_in_range(_named(verdict, key, name), low, high))
    return {key: [read(key, name) for name in names] for key, names in asked.items()}, verdict


def _in_range(value, low, high):
    if type(value) is not int and not (type(value) is float and math.isfinite(value)):
        raise Refused("not_a_number")
    if not low <= value <= high:
        raise Refused("out_of_range")
    return value


def _named(value, *keys):
    """value[key][…], keys in any case; raises Refused."""
    for key in keys:
        values = _holding(value, key)
        if len(values) != 1:
            raise Refused("several" if values else "no_scores")
        value = values[0]
    return value


def _holding(value, key):
    """What an object has under a key, in any case; [] where it is no object."""
    pairs = value.items() if isinstance(value, dict) else ()
    return [v for k, v in pairs if k.lower() == key.lower()]


def _objects(text):
    """The outermost objects. Scanned once: one that does not decode ends it."""
    decoder, at = json.JSONDecoder(object_pairs_hook=_once), 0
    while begin := _OBJECT.search(text, at):
        try:
            value, at = decoder.raw_decode(text, begin.start())
        except Refused:
            raise
        except (ValueError, RecursionError) as e:  # too many digits is a ValueError too
            raise Refused("not_json") from e
        yield value


def _once(pairs):
    keyed = dict(pairs)
    if len(keyed) < len(pairs):
        raise Refused("several")
    return keyed
