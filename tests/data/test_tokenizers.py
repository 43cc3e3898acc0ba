"""Every source of a vocabulary gives the ids of the library it came from, and exact bytes."""

import io
import json

import gguf
import pytest
import sentencepiece
import tiny_embedder
import tiny_tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrl.data import tokenizers

CORPUS = [
    "The quick brown fox jumps over the lazy dog, then sleeps.",
    "Numbers: 1 22 333 4444, prices like 3.50 and years like 2024!",
    "def f(x):\n\treturn x + 1  # add one",
    "we're they'll I'd don't it's you've I'm",
    "the theory of the thing that they think of there",
] * 8
TEXTS = [
    *CORPUS[:5],
    "",
    " ",
    " lead and  double   spaces ",
    "naïve 日本語 😀",
    "a\n\n\nb\r\nc\t\td",
]
TEXTS += ["(a+b)=<c>|~$^ 12345", "DON'T they'Ve  \n x"]


def sentencepiece_model(path, kind, **options):
    """A small model trained on the corpus, as a file and as the library's own processor."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=out,
        model_type=kind,
        vocab_size=320,
        minloglevel=2,
        **options,
    )
    path.write_bytes(out.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())


LLAMA_LIKE = {"byte_fallback": True, "normalization_rule_name": "identity"}
LLAMA_LIKE |= {"remove_extra_whitespaces": False, "allow_whitespace_only_pieces": True}


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize(
    "options", [LLAMA_LIKE, {"byte_fallback": True, "add_dummy_prefix": False}]
)
def test_sentencepiece_ids_and_text_equal_the_library(kind, options, tmp_path):
    """As Llama 2 was trained (identity, kept spaces) and with the default nmt_nfkc cleaning."""
    peer = sentencepiece_model(tmp_path / "tokenizer.model", kind, **options)
    for tokenizer in (tokenizers.load(tmp_path / "tokenizer.model"), tokenizers.load(tmp_path)):
        for text in TEXTS:
            assert tokenizer.encode(text) == peer.encode(text)
            assert tokenizer.decode(peer.encode(text)) == peer.decode(peer.encode(text))
        assert tokenizer.vocab_size == peer.vocab_size()
        assert (tokenizer.bos_id, tokenizer.eos_ids) == (peer.bos_id(), (peer.eos_id(),))
        assert tokenizer.prefix() == [peer.bos_id()]


def test_llama_vocabulary_inside_gguf_equals_sentencepiece(tmp_path):
    """The "llama" model: scores and kinds in place of merges; a byte piece is its byte."""
    peer = sentencepiece_model(tmp_path / "tokenizer.model", "bpe", **LLAMA_LIKE)
    ids = range(peer.vocab_size())
    kind = lambda i: (
        2 if peer.is_unknown(i) else 3 if peer.is_control(i) else 6 if peer.is_byte(i) else 1
    )
    out = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    out.add_tokenizer_model("llama")
    out.add_token_list([peer.id_to_piece(i) for i in ids])
    out.add_token_scores([peer.get_score(i) for i in ids])
    out.add_token_types([kind(i) for i in ids])
    out.add_bos_token_id(peer.bos_id())
    out.add_eos_token_id(peer.eos_id())
    finish(out)
    tokenizer = tokenizers.load(tmp_path / "m.gguf")
    for text in TEXTS:
        assert tokenizer.encode(text) == peer.encode(text)
    assert tokenizer.prefix() == [peer.bos_id()]  # llama.cpp's default for this kind
    assert b"".join(tokenizer.token_bytes()[i] for i in peer.encode("日本 x")).decode() == " 日本 x"


def finish(out):
    """Writes a GGUF file without tensors."""
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.close()


def byte_level_gguf(path, pre, vocab, merges):
    """A "gpt2" vocabulary in a GGUF file."""
    out = gguf.GGUFWriter(path, "llama")
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre(pre)
    out.add_token_list(vocab)
    out.add_token_types([3] + [1] * (len(vocab) - 1))
    out.add_token_merges([" ".join(pair) for pair in merges])
    out.add_eos_token_id(0)
    out.add_chat_template("{{ messages }}")
    finish(out)


def trained(pre_tokenizer):
    """(vocabulary in id order, merges) of byte-level BPE over the corpus."""
    import tokenizers as hf
    from tokenizers import models, pre_tokenizers, trainers

    core = hf.Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet
    )
    core.train_from_iterator([*CORPUS, *TEXTS, "12 123 1234 77 ++ == a+b"] * 3, trainer)
    vocab = core.get_vocab()
    return sorted(vocab, key=vocab.get), json.loads(core.to_str())["model"]["merges"]


def pre_tokenizer_of(name):
    """The pre-tokenizer that transformers builds for the family, or the published one of SmolLM."""
    from tokenizers import pre_tokenizers

    if name == "smollm":
        return pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    if name == "gpt-2":
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    from transformers import Qwen2Tokenizer

    return Qwen2Tokenizer().backend_tokenizer.pre_tokenizer


@pytest.mark.parametrize("pre", ["smollm", "gpt-2", "qwen2"])
def test_byte_level_vocabulary_inside_gguf_splits_as_its_family(pre, tmp_path):
    """Merges learnt over the family's own splits; the ids then show any difference in splitting."""
    import tokenizers as hf
    from tokenizers import models

    peer = hf.Tokenizer(models.BPE())
    peer.pre_tokenizer = pre_tokenizer_of(pre)
    vocab, merges = trained(peer.pre_tokenizer)
    pairs = [tuple(pair) for pair in merges]
    peer.model = models.BPE({piece: i for i, piece in enumerate(vocab)}, pairs)
    byte_level_gguf(tmp_path / "m.gguf", pre, vocab, pairs)
    tokenizer = tokenizers.load(tmp_path / "m.gguf")
    for text in TEXTS:
        assert tokenizer.encode(text) == peer.encode(text).ids
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.eos_ids == (0,) and tokenizer.chat_template == "{{ messages }}"


def test_splitting_rules_of_digits(tmp_path):
    """Single (SmolLM, Qwen), three at most (Llama 3, llama.cpp's default), or whole runs."""
    digits = "0123456789"
    pairs = [(a, b) for a in digits for b in digits]
    triples = [(a + b, c) for a, b in pairs for c in digits]
    vocab = ["<e>", *digits, " ", *("".join(m) for m in [*pairs, *triples])]
    expected = {"qwen2": list("12345"), "smollm": list("12345"), "llama-bpe": ["123", "45"]}
    expected |= {"default": ["123", "45"], "gpt-2": ["12", "345"]}
    for pre, pieces in expected.items():
        byte_level_gguf(tmp_path / "m.gguf", pre, vocab, [*pairs, *triples])
        tokenizer = tokenizers.load(tmp_path / "m.gguf")
        assert tokenizer.pieces(tokenizer.encode("12345")) == pieces, pre


def test_an_unknown_pre_type_is_refused(tmp_path):
    """A wrong split would train on ids the model never saw."""
    byte_level_gguf(tmp_path / "m.gguf", "tekken", ["<e>", "a", "b", "ab"], [("a", "b")])
    with pytest.raises(ValueError, match=r"tokenizer\.ggml\.pre='tekken' is not supported"):
        tokenizers.load(tmp_path / "m.gguf")


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_bytes_and_pieces_are_exact(text):
    """Token bytes join to the text's UTF-8, pieces to the text, whatever the text."""
    tokenizer = TINY
    ids = tokenizer.encode(text)
    assert b"".join(tokenizer.token_bytes()[i] for i in ids) == text.encode()
    assert "".join(tokenizer.pieces(ids)) == text == tokenizer.decode(ids)


TINY = tiny_tokenizers.build()


def test_special_tokens_have_no_bytes_but_a_piece():
    """Stop strings must not match inside a special token; a person must still see it."""
    ids = TINY.encode("é<end>b")
    assert TINY.pieces(ids) == ["", "é", "<end>", "b"]
    assert TINY.decode(ids) == "éb"
    assert TINY.token_bytes()[TINY.eos_ids[0]] == b""
    assert TINY.pieces([ids[0], ids[2], 10_000]) == ["", "\N{REPLACEMENT CHARACTER}<end>", ""]


def test_save_and_load_keep_everything(tmp_path):
    """Ids, special tokens, template; tokenizer_config.json alone carries the latter two."""
    before = tiny_tokenizers.build(("<end>", "<pad>"), template="{% if x %}é{% endif %}")
    before.save(tmp_path)
    after = tokenizers.load(tmp_path)
    assert after.encode("the ab<end>") == before.encode("the ab<end>")
    assert (after.eos_ids, after.pad_id, after.bos_id) == (before.eos_ids, before.pad_id, None)
    assert after.chat_template == before.chat_template
    assert after.token_bytes() == before.token_bytes()


def test_a_directory_may_name_several_ends_and_templates(tmp_path):
    """generation_config.json lists further end tokens; chat_template.jinja wins over the config."""
    tiny_tokenizers.build(("<end>", "<stop>")).save(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [1, 0]}')
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    named = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]
    config |= {"chat_template": named, "eos_token": {"content": "<end>"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    loaded = tokenizers.load(tmp_path)
    assert loaded.eos_ids == (0, 1) and loaded.chat_template == "D"
    (tmp_path / "chat_template.jinja").write_text("J")
    assert tokenizers.load(tmp_path).chat_template == "J"


def test_truncation_and_padding_of_the_file_are_switched_off(tmp_path):
    """A tokenizer.json may carry both; they would cut prompts without a word."""
    TINY.core.enable_truncation(4)
    TINY.core.enable_padding(length=4)
    TINY.save(tmp_path)
    TINY.core.no_truncation()
    TINY.core.no_padding()
    assert len(tokenizers.load(tmp_path).encode("abcabcabc")) > 4
    assert tokenizers.load(tmp_path).encode("ab") == TINY.encode("ab")


def test_bad_input_is_named(tmp_path):
    """No tokenizer, a broken one, a file that is no SentencePiece model."""
    with pytest.raises(FileNotFoundError, match="no tokenizer at"):
        tokenizers.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match=r"tokenizer\.json cannot be read"):
        tokenizers.load(tmp_path)
    (tmp_path / "x.model").write_bytes(b"\xff\xff\xff")
    with pytest.raises(ValueError, match=r"x\.model is not a SentencePiece model"):
        tokenizers.load(tmp_path / "x.model")


def test_wordpiece_gives_the_ids_of_its_library_and_no_bytes(tmp_path):
    """Its file may ask for truncation and padding, which would be done behind our back."""
    core = tiny_embedder.wordpiece().core
    core.enable_truncation(4)
    core.enable_padding(length=9)
    core.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "special_tokens_map.json").write_text('{"pad_token": "[PAD]"}')
    tokenizer = tokenizers.load(tmp_path)
    texts = ["The cats sat on the MAT!", "é xyz", ""]
    core.no_truncation()
    core.no_padding()
    for specials in (False, True):
        wanted = [core.encode(text, add_special_tokens=specials).ids for text in texts]
        assert tokenizer.encode_many(texts, specials) == wanted
    assert (tokenizer.pad_id, tokenizer.eos_ids, tokenizer.special_ids()) == (0, (), {0, 1, 2, 3})
    with pytest.raises(ValueError, match="neither byte-level nor SentencePiece"):
        tokenizer.token_bytes()
