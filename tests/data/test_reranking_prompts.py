"""Prompts of rerankers, byte for byte, and what truncation leaves of them."""

import pytest
import tiny_embedder
import tiny_tokenizers

from jaxrl.data import reranking_prompts

SYSTEM = """<|im_start|>system
Judge whether the Document meets the requirements based on the Query and the Instruct provided. \
Note that the answer can only be "yes" or "no".<|im_end|>
<|im_start|>user
"""
THOUGHT = "<think>\n\n</think>\n\n"


def render(name, *args):
    return reranking_prompts.TEMPLATES[name].render(*args)


def test_text_reranker_byte_for_byte():
    assert render("qwen3", "what?", "this.", "Judge it") == (
        SYSTEM + "<Instruct>: Judge it\n<Query>: what?\n<Document>: this.<|im_end|>\n"
        "<|im_start|>assistant\n" + THOUGHT
    )


@pytest.mark.parametrize("document, shown", [("this.", "this."), ("", "NULL")])
def test_vl_reranker_byte_for_byte(document, shown):
    """No new line after the instruction, no space after the names, no thought."""
    assert render("qwen3_vl", "what?", document, "Judge it") == (
        SYSTEM + f"<Instruct>: Judge it<Query>:what?\n<Document>:{shown}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_default_instructions():
    default = lambda name: reranking_prompts.TEMPLATES[name].instruction
    assert default("qwen3") == (
        "Given a web search query, retrieve relevant passages that answer the query"
    )
    assert default("qwen3_vl") == (
        "Given a search query, retrieve relevant candidates that answer the query."
    )


@pytest.mark.parametrize("name", ["qwen3", "qwen3_vl"])
def test_too_long_pairs_keep_the_prompt_and_lose_the_end_of_the_document(name):
    """What precedes the answer is where the score is read."""
    tokenizer = tiny_embedder.CHAT
    pairs = [("ab", "c" * 50), ("ab", "c")]
    whole = reranking_prompts.encode(tokenizer, name, pairs, 1000)
    assert whole.cut == [] and len(whole.ids[0]) == len(whole.ids[1]) + 49
    limit = len(whole.ids[0]) - 7
    rows = reranking_prompts.encode(tokenizer, name, pairs, limit)
    assert rows.cut == [0] and len(rows.ids[0]) == limit
    shorter = reranking_prompts.encode(tokenizer, name, [("ab", "c" * 43)], 1000)
    assert rows.ids[0] == shorter.ids[0] and rows.ids[1] == whole.ids[1]


def test_listwise_in_evaluation_byte_for_byte():
    expected = """<|im_start|>user
Given a web search query and some relevant documents, rerank the documents that answer the query:
Documents:
[1] first one
[2] second
Search Query: what?<|im_end|>
<|im_start|>assistant
<think>

</think>

"""
    assert reranking_prompts.listwise("what?", ["first one", "second"]) == expected
    cut = reranking_prompts.listwise("what?", ["first  one\nmore", "second"], words=2)
    assert cut == expected


def test_listwise_in_training_byte_for_byte():
    assert reranking_prompts.listwise("q", ["d"], "Rank", training=True) == (
        "<|im_start|>user\nRank:\nDocuments:\n[1] d\nQuery: q<|endoftext|><|im_end|>\n"
        "<|im_start|>assistant\n" + THOUGHT
    )


def test_a_prompt_that_fits_is_the_evaluations():
    """Documents of up to 1024 words; longer ones end there."""
    documents = ["w " * 2000, "one  two"]
    prompt = reranking_prompts.fitted(tiny_embedder.CHAT, "what?", documents, 10_000)
    assert prompt == reranking_prompts.listwise("what?", ["w " * 1023 + "w", "one two"])


@pytest.mark.parametrize("fewer", [1, 30, 100])
def test_a_prompt_that_does_not_fit_loses_words_of_documents_and_never_the_query(fewer):
    """Cut at its end it loses the query, and then ranks alike whatever is asked."""
    tokenizer, documents = tiny_embedder.CHAT, ["ab cd " * 30, "ef", "gh " * 50]
    whole = len(tokenizer.encode(reranking_prompts.listwise("what?", documents, words=1024)))
    prompt = reranking_prompts.fitted(tokenizer, "what?", documents, whole - fewer)
    assert len(tokenizer.encode(prompt)) <= whole - fewer
    kept = [prompt.split(f"[{n}] ")[1].split("\n")[0].split() for n in (1, 2, 3)]
    assert kept[1] == ["ef"] and "\nSearch Query: what?<|im_end|>" in prompt
    words = max(map(len, kept))
    assert [len(text) for text in kept] == [min(60, words), 1, min(50, words)]
    more = reranking_prompts.listwise("what?", documents, words=words + 1)
    assert len(tokenizer.encode(more)) > whole - fewer


def test_a_limit_without_room_for_a_word_of_each_is_refused():
    with pytest.raises(ValueError, match=r"limit=150: .* of 30 documents has \d+ tokens; show few"):
        reranking_prompts.fitted(tiny_embedder.CHAT, "what?", ["ab"] * 30, 150)


def test_answers_are_single_tokens():
    """Half a word would have odds too, of something else."""
    words = tiny_tokenizers.build(("<end>", "yes", "no"))
    assert reranking_prompts.answers(words) == (1, 2)
    with pytest.raises(ValueError, match='no token "yes"'):
        reranking_prompts.answers(tiny_tokenizers.build())
