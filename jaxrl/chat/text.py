"""Text that is shown to a model: what is too long for it, and what only its tokenizer may say."""

import re


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
