"""Query and document as rerankers want them, byte for byte, and as token ids within a limit.

    qwen3      Qwen3-Reranker, as its model card has it: an empty thought before the answer
    qwen3_vl   Qwen3-VL-Reranker (arXiv:2601.04720, official code): no thought, and no new line
               between instruction and query

Both ask for yes or no. `listwise` is E2Rank's prompt, which is embedded under the template of that
name: the similarity of its vector to a document's own is the document's score.
"""

import bisect
from collections.abc import Callable, Sequence
from typing import NamedTuple

from jaxrl.data import truncation
from jaxrl.data.embedding_prompts import ANSWER, EMPTY_THOUGHT, END, NOTHING, Rows

SYSTEM = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
LISTWISE = (
    "Given a web search query and some relevant documents, rerank the documents that answer the "
    "query"
)
WORDS = 1024  # of a document in a listwise prompt at most, as E2Rank's evaluation cuts them


class Template(NamedTuple):
    """How a pair is judged."""

    render: Callable[[str, str, str], str]  # (query, document, instruction) -> what is encoded
    instruction: str  # where none is given
    tail: str  # of what is encoded: the answer follows it, so truncation keeps it


class Answers(NamedTuple):
    """The tokens whose odds are the score."""

    yes: int
    no: int


def _qwen3(query, document, instruction):
    body = f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}"
    return SYSTEM + body + ANSWER + EMPTY_THOUGHT


def _qwen3_vl(query, document, instruction):
    """That an empty side becomes NULL, as in the embedder, is our choice."""
    body = f"<Instruct>: {instruction}<Query>:{query or NOTHING}\n<Document>:{document or NOTHING}"
    return SYSTEM + body + ANSWER


TEMPLATES = {
    "qwen3": Template(
        _qwen3,
        "Given a web search query, retrieve relevant passages that answer the query",
        ANSWER + EMPTY_THOUGHT,
    ),
    "qwen3_vl": Template(
        _qwen3_vl,
        "Given a search query, retrieve relevant candidates that answer the query.",
        ANSWER,
    ),
}


def encode(tokenizer, name, pairs, limit, instruction=None):
    """Rows of (query, document) pairs, of at most `limit` tokens. name: a key of TEMPLATES.

    Too long ones lose ordinary tokens from the end of the document, then of the query; special
    tokens and the tail stay.
    """
    template = TEMPLATES[name]
    instruction = instruction or template.instruction
    tail, special = len(tokenizer.encode(template.tail)), tokenizer.special_ids()
    rows = tokenizer.encode_many([template.render(*pair, instruction) for pair in pairs])
    longer = [i for i, ids in enumerate(rows) if len(ids) > limit]
    for i in longer:
        rows[i] = truncation.cut(rows[i], limit, tail, [t in special for t in rows[i]])
    return Rows(rows, longer)


def answers(tokenizer):
    """The ids of yes and no."""
    found = Answers(*(tokenizer.core.token_to_id(word) for word in Answers._fields))
    if None in found:
        raise ValueError(
            'the tokenizer has no token "yes" or none "no", whose odds a reranker reports: use the '
            "tokenizer of a Qwen3-Reranker or Qwen3-VL-Reranker checkpoint"
        )
    return found


def listwise(
    query: str,
    documents: Sequence[str],
    instruction: str = LISTWISE,
    *,
    training=False,
    words=None,
    chat=True,
) -> str:
    """E2Rank's pseudo-query (arXiv:2510.22733, 2.2): a chat of instruction, documents and query.

    training: the form of the authors' training code, whose last line and end of the user's turn
    differ from those of its evaluation. words: a document's white-space words beyond these are left
    out; its evaluation sets WORDS. Nothing is appended: the last token is read. chat=False leaves
    the marks of turns out, for models that know none, as encoders; our choice.
    """
    if words is not None:
        documents = [" ".join(document.split()[:words]) for document in documents]
    listed = "".join(f"[{i}] {document}\n" for i, document in enumerate(documents, 1))
    last = f"Query: {query}{END}" if training else f"Search Query: {query}"
    content = f"{instruction}:\nDocuments:\n{listed}{last}"
    if not chat:
        return content
    return f"<|im_start|>user\n{content}{ANSWER}{EMPTY_THOUGHT}"


def fitted(tokenizer, query, documents, limit, instruction=LISTWISE, *, chat=True):
    """`listwise` as E2Rank's evaluation has it, of at most `limit` tokens.

    What a limit takes away is not given in the paper; our choice: every document keeps its first n
    words, n as large as fits and at most WORDS. Truncation would take the query, which stands last.
    """
    render = lambda words: listwise(query, documents, instruction, words=words, chat=chat)
    length = lambda words: len(tokenizer.encode_many([render(words)], specials=not chat)[0])
    if length(WORDS) <= limit:
        return render(WORDS)
    words = bisect.bisect_right(range(1, WORDS), limit, key=length)
    if not words:
        raise ValueError(
            f"limit={limit}: a prompt with one word of each of {len(documents)} documents has "
            f"{length(1)} tokens; show fewer documents, or raise it"
        )
    return render(words)
