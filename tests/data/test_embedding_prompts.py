"""Prompts of embedders, byte for byte, and what truncation leaves of them."""

import pytest
import tiny_embedder
import tiny_tokenizers

from jaxrl.data import embedding_prompts, reranking_prompts, truncation

TASK = "Retrieve images or text relevant to the user's query"
VL = "<|im_start|>system\n{}<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
CASES = [
    ("plain", "a cat", None, "a cat"),
    ("plain", "a cat", "query: ", "query: a cat"),
    ("qwen3", "a cat", None, "a cat<|endoftext|>"),
    ("qwen3", "a cat", TASK, f"Instruct: {TASK}\nQuery:a cat<|endoftext|>"),
    ("qwen3", "", None, "<|endoftext|>"),
]
CASES += [
    ("qwen3_vl", text, instruction, VL.format(system, user) + "<|endoftext|>")
    for text, instruction, system, user in [
        ("a cat", None, "Represent the user's input.", "a cat"),
        ("a cat", " ", "Represent the user's input.", "a cat"),
        ("a cat", f" {TASK}\n", f"{TASK}.", "a cat"),
        ("a cat", "What is it?", "What is it?", "a cat"),
        ("a cat", "图片。", "图片。", "a cat"),
        ("a cat", "a + b = c $", "a + b = c $.", "a cat"),  # a symbol, not punctuation
        ("", None, "Represent the user's input.", "NULL"),
    ]
]


@pytest.mark.parametrize("name, text, instruction, expected", CASES)
def test_byte_for_byte(name, text, instruction, expected):
    """One changed character of a prompt costs a model more than a changed layer would show."""
    assert embedding_prompts.TEMPLATES[name].render(text, instruction) == expected


def test_ids_are_those_of_the_rendered_text():
    tokenizer = tiny_embedder.CHAT
    rows = embedding_prompts.encode(tokenizer, "qwen3_vl", ["ab", ""], 500)
    assert rows.cut == []
    for text, ids in zip(["ab", ""], rows.ids, strict=True):
        rendered = embedding_prompts.TEMPLATES["qwen3_vl"].render(text, None)
        assert ids == tokenizer.encode(rendered)
        assert ids[-1] == tokenizer.eos_ids[0]  # one token, the one that is read


def test_too_long_texts_keep_their_last_token():
    """E2Rank's code cuts it off, and then reads the vector at an ordinary token."""
    rows = embedding_prompts.encode(tiny_embedder.CHAT, "qwen3", ["hehehe", "he"], 4)
    whole = tiny_embedder.CHAT.encode("hehehe")
    assert rows.cut == []
    rows = embedding_prompts.encode(tiny_embedder.CHAT, "qwen3", ["hehehe", "he"], 3)
    assert rows.ids[0] == whole[:2] + [tiny_embedder.CHAT.eos_ids[0]]
    assert rows.cut == [0] and len(rows.ids[1]) == 2


@pytest.mark.parametrize("limit", [3, 4, 5, 9])
def test_wordpiece_is_cut_as_its_library_does(limit):
    """[CLS] in front, [SEP] at the end, whatever the limit."""
    tokenizer = tiny_embedder.wordpiece()
    texts = ["The cats sat on the mat!", "cat", ""]
    rows = embedding_prompts.encode(tokenizer, "plain", texts, limit)
    tokenizer.core.enable_truncation(limit)
    assert rows.ids == [tokenizer.core.encode(text).ids for text in texts]
    assert rows.cut == [0]


@pytest.mark.parametrize("known", [False, True])
def test_the_tail_of_a_tokenizer_is_found(known):
    """A token before the text is no tail: cutting for it would drop the text's last token."""
    tokenizer = tiny_tokenizers.build(("<bos>", "<end>"))
    if known:
        from tokenizers import processors

        tokenizer.core.post_processor = processors.TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", 0)]
        )
    whole = tokenizer.encode_many(["abcdef"], specials=True)[0]
    assert embedding_prompts.encode(tokenizer, "plain", ["abcdef"], 4).ids == [whole[:4]]


def test_a_template_of_another_model_is_refused():
    with pytest.raises(ValueError, match="no special token of this tokenizer: use the template"):
        embedding_prompts.encode(tiny_tokenizers.build(), "qwen3", ["a"], 9)


def test_a_listwise_prompt_keeps_what_its_vector_is_read_at():
    """Twenty long documents may be cut, the last tokens of the prompt may not."""
    tokenizer = tiny_embedder.CHAT
    prompt = reranking_prompts.listwise("he", ["ab" * 40, "he"])
    whole = tokenizer.encode(prompt)
    assert embedding_prompts.encode(tokenizer, "listwise", [prompt], 2000) == ([whole], [])
    end = tokenizer.encode("<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n")
    rows = embedding_prompts.encode(tokenizer, "listwise", [prompt], 100)
    assert rows == ([whole[: 100 - len(end)] + end], [0])
    with pytest.raises(ValueError, match="instruction='Rank' under template='listwise'"):
        embedding_prompts.encode(tokenizer, "listwise", [prompt], 100, "Rank")


def test_cut_keeps_special_tokens_and_the_tail():
    """The rule of Qwen3-VL-Reranker's code: ordinary tokens go, from the end of the body."""
    ids = [90, 1, 2, 91, 3, 4, 5, 6, 7]
    special = [i > 89 for i in ids]
    assert truncation.cut(ids, 9, 2, special) == ids
    assert truncation.cut(ids, 7, 2, special) == [90, 1, 2, 91, 3, 6, 7]
    assert truncation.cut(ids, 4, 2, special) == [90, 91, 6, 7]
    assert truncation.cut(ids, 4, 2) == [90, 1, 6, 7]
    with pytest.raises(ValueError, match="limit=3 is below the 4 tokens"):
        truncation.cut(ids, 3, 2, special)
