"""Byte-level and SentencePiece vocabularies, given in parts, built in the `tokenizers` library.

The parts come from a GGUF file or a SentencePiece proto; a tokenizer.json needs none of this.
"""

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors

UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 2, 3, 4, 5, 6  # kinds, in SentencePiece as in GGUF

CONTRACTION = "'s|'t|'re|'ve|'m|'ll|'d"
GPT2 = rf"{CONTRACTION}| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|\s+(?!\S)|\s+"
WORD = rf"(?i:{CONTRACTION})|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PRE_TYPES = {  # tokenizer.ggml.pre -> the patterns that split the text, one after the other
    "smollm": (r"\p{N}", GPT2),
    "qwen2": (rf"{WORD}|\p{{N}}|{REST}",),
    "llama-bpe": (rf"{WORD}|\p{{N}}{{1,3}}|{REST}",),
    "gpt-2": (GPT2,),
    "default": (r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
}


def byte_level(pieces, kinds, merges, pre):
    """GGUF's "gpt2" vocabulary. merges: "left right"; pre: how text is split before merging."""
    if pre not in PRE_TYPES:
        raise ValueError(
            f"tokenizer.ggml.pre={pre!r} is not supported: use one of {sorted(PRE_TYPES)}"
        )
    vocab = {piece: i for i, piece in enumerate(pieces)}
    pairs = [tuple(merge.split(" ")) for merge in merges]
    core = tokenizers.Tokenizer(models.BPE(vocab, pairs, ignore_merges=pre == "llama-bpe"))
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in PRE_TYPES[pre]]
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.pre_tokenizer = pre_tokenizers.Sequence([*splits, to_bytes])
    core.decoder = decoders.ByteLevel()
    if pre == "qwen2":
        core.normalizer = normalizers.NFC()
    _add_tokens(core, pieces, kinds)
    return core


def sentencepiece(model, pieces, kinds, *, prefix, clean=()):
    """A SentencePiece vocabulary: spaces become ▁, and one more stands before the text if `prefix`.

    model: `bpe` or `unigram` below. clean: normalizers that run first. Text that follows a special
    token counts as a new text: it gets the prefix too, as in llama.cpp.
    """
    core = tokenizers.Tokenizer(model)
    steps = [*clean, *[normalizers.Prepend("▁")] * prefix, normalizers.Replace(" ", "▁")]
    core.normalizer = normalizers.Sequence(steps)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    core.decoder = decoders.Sequence(steps + [decoders.Strip(" ", 1, 0)] * prefix)
    _add_tokens(core, pieces, kinds)
    return core


def bpe(pieces, scores, kinds, unk):
    """SentencePiece ranks pieces, `tokenizers` ranks pairs: list every pair that makes a piece."""
    vocab = {piece: i for i, piece in enumerate(pieces)}
    made = [i for i, kind in enumerate(kinds) if kind not in (UNKNOWN, CONTROL, UNUSED, BYTE)]
    merges = []
    for i in sorted(made, key=lambda i: (-scores[i], i)):
        halves = [(pieces[i][:n], pieces[i][n:]) for n in range(1, len(pieces[i]))]
        pairs = [(a, b) for a, b in halves if a in vocab and b in vocab]
        merges += sorted(pairs, key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))
    options = {"unk_token": pieces[unk], "fuse_unk": True, "byte_fallback": BYTE in kinds}
    return models.BPE(vocab, merges, **options)


def unigram(pieces, scores, kinds, unk):
    """SentencePiece's unigram language model: the likeliest split of the text."""
    scored = list(zip(pieces, scores, strict=True))
    return models.Unigram(scored, unk, byte_fallback=BYTE in kinds)


def prepend(core, token, id):
    """From now on encoding with special tokens starts with this one."""
    core.post_processor = processors.TemplateProcessing(f"{token} $A", special_tokens=[(token, id)])


def _add_tokens(core, pieces, kinds):
    pick = lambda kind: [piece for piece, k in zip(pieces, kinds, strict=True) if k == kind]
    core.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in pick(CONTROL)])
    core.add_tokens([AddedToken(t, special=False, normalized=False) for t in pick(USER_DEFINED)])
