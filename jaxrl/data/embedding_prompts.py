"""Texts as embedders want them, byte for byte, and as token ids within a limit.

    plain      {instruction}{text}, in what the tokenizer's own file puts around a text: BERT, E5
    qwen3      Qwen3-Embedding and E2Rank (arXiv:2510.22733): with an instruction
                   Instruct: {instruction}\\nQuery:{text}<|endoftext|>
               and without one, which is how documents are embedded, {text}<|endoftext|>
    qwen3_vl   Qwen3-VL-Embedding (arXiv:2601.04720): a chat, the instruction as the system's turn
    listwise   E2Rank's pseudo-query, as reranking_prompts.listwise writes it: nothing is added

An image or a video enters qwen3_vl as its mark at the head of the text, videos first:
embedding_sequences.py.
"""

import unicodedata
from collections.abc import Callable
from typing import NamedTuple

from jaxrl.data import truncation

END = "<|endoftext|>"
ANSWER = "<|im_end|>\n<|im_start|>assistant\n"  # the user's turn ends, and the model's begins
EMPTY_THOUGHT = "<think>\n\n</think>\n\n"
VL_INSTRUCTION = "Represent the user's input."
NOTHING = "NULL"  # what an empty object is embedded as


class Template(NamedTuple):
    """How a text is embedded."""

    render: Callable[[str, str | None], str]  # (text, instruction or None) -> what is encoded
    tail: str  # of what is encoded: the last token is read, so truncation keeps this
    specials: bool  # whether the tokenizer adds its own around it


class Rows(NamedTuple):
    """Token ids of texts, in their order."""

    ids: list[list[int]]
    cut: list[int]  # the numbers of the texts that were too long


def _plain(text, instruction):
    return (instruction or "") + text


def _qwen3(text, instruction):
    return (f"Instruct: {instruction}\nQuery:{text}" if instruction else text) + END


def _qwen3_vl(text, instruction):
    """The report prints no header of the assistant's turn, the official code renders one and adds
    nothing after it. That the tokenizer's file adds the <|endoftext|> is what ms-swift's template
    and the models before this one suggest; it was not checked against the checkpoint."""
    return (
        f"<|im_start|>system\n{punctuated(instruction) or VL_INSTRUCTION}<|im_end|>\n"
        f"<|im_start|>user\n{text or NOTHING}{ANSWER}{END}"
    )


def _listwise(text, instruction):
    if instruction:
        raise ValueError(
            f"instruction={instruction!r} under template='listwise': it is part of the prompt; "
            "give it to reranking_prompts.listwise"
        )
    return text


def punctuated(instruction):
    """The instruction without white space around it, and with a full stop unless its last
    character is punctuation in Unicode's sense. None and nothing give ""."""
    instruction = (instruction or "").strip()
    if instruction and not unicodedata.category(instruction[-1]).startswith("P"):
        return instruction + "."
    return instruction


TEMPLATES = {
    "plain": Template(_plain, tail="", specials=True),
    "qwen3": Template(_qwen3, tail=END, specials=False),
    "qwen3_vl": Template(_qwen3_vl, tail=END, specials=False),
    "listwise": Template(_listwise, tail=ANSWER + EMPTY_THOUGHT, specials=False),
}


def encode(tokenizer, name, texts, limit, instruction=None):
    """Rows of at most `limit` tokens. name: a key of TEMPLATES.

    Too long ones lose tokens from the end, but never their tail.
    """
    template, last = TEMPLATES[name], tail(tokenizer, name)
    rendered = [template.render(text, instruction) for text in texts]
    rows = tokenizer.encode_many(rendered, template.specials)
    longer = [i for i, ids in enumerate(rows) if len(ids) > limit]
    for i in longer:
        rows[i] = truncation.cut(rows[i], limit, last)
    return Rows(rows, longer)


def tail(tokenizer, name):
    """How many tokens at the end of every text belong to the template."""
    template = TEMPLATES[name]
    if template.specials:
        # What stands around nothing, less what also stands before something.
        around, some = tokenizer.encode_many(["", "a"], specials=True)
        same = [x == y for x, y in zip(around, some, strict=False)]
        return len(around) - [*same, False].index(False)
    ids = tokenizer.encode(template.tail)
    if ids[0] not in tokenizer.special_ids():
        raise ValueError(
            f"template={name!r} ends in {template.tail!r}, which is no special token of this "
            "tokenizer: use the template that belongs to the model, such as 'plain'"
        )
    return len(ids)
