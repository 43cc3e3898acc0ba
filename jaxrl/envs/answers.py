"""Finding the answer in a reply, and deciding whether two answers are the same.

A reply never gets two chances: every mode of `extract` yields one candidate, so that listing many
numbers gains nothing.
"""

import re
from fractions import Fraction

MODES = ("strict", "marked", "lenient")

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_NUMBER = re.compile(
    r"(?:(?<![\w)])[-−])?"  # a minus after a digit, letter or bracket is a subtraction
    rf"(?:\\[dt]?frac\{{-?\d+\}}\{{-?\d+\}}|(?:{_DIGITS})(?:/\d+(?![\d/]))?)"
)
_FRACTION = re.compile(r"(-?)\\[dt]?frac\{(-?\d+)\}\{(-?\d+)\}")
_LEAD_IN = re.compile(r"answer(?:\s+is\b|\s*[:=])\s*:?", re.IGNORECASE)
_POLAR = ({"yes", "no"}, {"true", "false"})
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")  # not a LaTeX command
_FUNCTIONS = {
    "sqrt",
    "sin",
    "cos",
    "tan",
    "cot",
    "log",
    "exp",
    "frac",
    "dfrac",
    "tfrac",
    "pi",
    "inf",
}
_WRAPPING = " \t\"'`*.$"


def extract(reply, mode, gold):
    """The one candidate answer in `reply`; "" where there is none. `gold` only tells its form.

    strict:  the whole reply, stripped.
    marked:  the last \\boxed{…}, else what follows the last "####", else the last <answer>.
    lenient: as marked; else what follows the last "answer is" or "answer:" on its line; else, by
             the form of gold: a number → the reply's last number; yes/no or true/false → its last
             such word; one line → its last non-empty line; several lines, or None → the whole.
             If gold is a number, marked text that is more than a number yields its first one.
    """
    if mode == "strict":
        return reply.strip()
    marked = _marked(reply)
    if mode == "marked":
        return "" if marked is None else marked
    if marked is None:
        marked = _after_lead_in(reply, _around(gold))
    text = reply if marked is None else marked
    if gold is not None and to_number(gold) is not None:
        return _pick_number(text, first=marked is not None)
    for words in _POLAR:
        if gold is not None and gold.lower() in words:
            found = re.findall(rf"\b(?:{'|'.join(words)})\b", text.lower())
            return _cased_like(found[-1], gold) if found else text.strip()
    if gold is None or "\n" in gold or marked is not None:
        return text.strip()
    lines = text.strip().splitlines()
    return lines[-1].strip(_around(gold)) if lines else ""


def equal(answer, gold):
    """True if the two answers are the same number, the same words, or the same expression.

    Numbers are compared exactly (1,000 = 1000, 1/2 = 0.5); prose by its letters, ignoring case;
    everything else by math-verify, unless the answer is long (our limit: 200 characters, or 4 times
    gold), as its parser takes seconds on some. Hostile input still can: run it under a time limit.
    """
    answer, gold = answer.strip(), gold.strip()
    if not answer or answer == gold:
        return answer == gold
    left, right = to_number(answer), to_number(gold)
    if left is not None and right is not None:
        return left == right
    if _is_prose(answer) or _is_prose(gold):  # math-verify would read "now" as the product n·o·w
        return answer.strip(_WRAPPING).lower() == gold.strip(_WRAPPING).lower()
    if len(answer) > max(200, 4 * len(gold)):
        return False
    import math_verify  # here: sympy takes a second, which most tasks never need

    parse = lambda s: math_verify.parse(f"${s.strip('$')}$", parsing_timeout=None)
    return math_verify.verify(parse(gold), parse(answer), timeout_seconds=None)


def to_number(text):
    """The exact value of a text that is one number and nothing else, as a Fraction; else None."""
    text = _bare(text)
    if len(text) > 1000 or not _NUMBER.fullmatch(text):  # int() refuses more than 4300 digits
        return None
    text = _FRACTION.sub(r"\1\2/\3", text.replace("−", "-").replace(",", "")).replace("--", "")
    top, _, bottom = text.partition("/")
    if bottom and int(bottom) == 0:
        return None
    return Fraction(top) / (int(bottom) if bottom else 1)


def _bare(text):
    return text.strip().strip("$").removeprefix("\\$").rstrip(".").strip()


def _marked(reply):
    start = max(reply.rfind("\\boxed{"), reply.rfind("\\fbox{"))
    if start >= 0:
        return _braced(reply, reply.index("{", start))
    if "####" in reply:
        return reply.rsplit("####", 1)[1].strip().split("\n", 1)[0].strip()
    tagged = re.findall(r"<answer>(.*?)</answer>", reply, re.DOTALL)
    return tagged[-1].strip() if tagged else None


def _braced(text, start):
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "{") - (text[i] == "}")
        if depth == 0:
            return text[start + 1 : i].strip()
    return text[start + 1 :].strip()  # cut off by the length limit


def _around(gold):
    """What may be peeled off an answer: quotes, stars and stops that gold itself does not have."""
    return "".join(c for c in _WRAPPING if c.isspace() or c not in (gold or ""))


def _after_lead_in(reply, around):
    ends = [m.end() for m in _LEAD_IN.finditer(reply)]
    if not ends:
        return None
    rest = reply[ends[-1] :].strip().split("\n", 1)[0].strip(around)
    return rest or None


def _pick_number(text, first):
    if to_number(text) is not None:
        found = _bare(text)
    else:
        numbers = _NUMBER.findall(text)
        if not numbers:
            return text.strip()
        found = numbers[0] if first else numbers[-1]
    return found.replace(",", "").replace("−", "-")


def _cased_like(word, gold):
    return word.upper() if gold.isupper() else word.capitalize() if gold[0].isupper() else word


def _is_prose(text):
    return any(w.lower() not in _FUNCTIONS for w in _WORD.findall(text))
