"""Text that is shown to a model, and what it says back.

What is too long is cut; what only a tokenizer or the one who asks may write is made harmless.
"""

import re

# Controls but newline and tab, halves of surrogate pairs (no endpoint could encode them), and what
# a person would not see: marks that reorder text, and tag characters, which can spell instructions.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]"
)
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def cut(text, most):
    """`text`, or its first and last characters, `most` in all, and how many are left out."""
    if len(text) <= most:
        return text
    head, tail = most - most // 2, most // 2
    left_out = f"[… {len(text) - most} characters left out …]"
    return f"{text[:head]}{left_out}{text[len(text) - tail :]}"


def harmless(text, specials):
    """`text` in which no special token is written out, so that a page cannot forge a turn.

    A space after its first character makes it plain text to a tokenizer, and legible to a reader.
    """
    if not specials:
        return text
    written = re.compile("|".join(map(re.escape, sorted(specials, key=len, reverse=True))))
    return written.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)


def fenced(tag, text):
    """<TAG>, the text, </TAG>: escaped, so that no tag stands inside, nor a chat template's token.

    &, < and > become entities; characters that a reader would not see are dropped.
    """
    inside = _UNSEEN.sub("", text.replace("\r\n", "\n")).translate(_ESCAPES)
    return f"<{tag}>\n{inside}\n</{tag}>"


def split(content):
    """(thinking, answer) of a reply; thinking that was never closed has no answer after it."""
    thinking, closed, rest = content.partition("</think>")
    if closed:
        return thinking.strip().removeprefix("<think>").strip(), rest.strip()
    if content.lstrip().startswith("<think>"):
        return content.strip().removeprefix("<think>").strip(), ""
    return "", content.strip()
