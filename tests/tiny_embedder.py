"""Tiny random embedders: an encoder over WordPiece, a decoder over bytes."""

import jax
import numpy as np
import tiny
import tiny_tokenizers
import tokenizers as hf
from tokenizers import models, normalizers, pre_tokenizers, processors

from jaxrl.data.tokenizers import Tokenizer
from jaxrl.models import embedder, encoder, spec

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "sat", "on", "##s", "mat", "!", "é"]
ENCODER = encoder.Config(V=len(WORDS), D=16, L=2, H=4, F=32, context=24)
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
CHAT = tiny_tokenizers.build(SPECIALS, eos="<|endoftext|>")


def wordpiece():
    """BERT's kind of vocabulary, of WORDS."""
    core = hf.Tokenizer(models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(strip_accents=False)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    core.add_special_tokens(WORDS[:4])
    return Tokenizer(core, (), bos_id=None, pad_id=0)


def params(specs, seed=0):
    """Random parameters; norms and biases too, so that a forgotten one shows."""
    rng = np.random.default_rng(seed)
    draw = lambda s: ((s.init == "ones") + 0.3 * rng.normal(size=s.shape)).astype(np.float32)
    return jax.tree.map(draw, specs, is_leaf=spec.is_spec)


def both_ways(**changes):
    """(embedder.Config, parameters, tokenizer) of the encoder."""
    c = embedder.Config(**({"model": ENCODER, "pooling": "mean"} | changes))
    return c, params(encoder.specs(ENCODER)), wordpiece()


def causal(**changes):
    """The same of the decoder."""
    c = embedder.Config(**({"model": tiny.MODEL, "pooling": "last", "template": "qwen3"} | changes))
    return c, tiny.params(), CHAT
