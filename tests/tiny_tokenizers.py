"""A tokenizer without training: one token a byte, a few merges, special tokens first."""

import tokenizers as hf
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from jaxrl.data.tokenizers import Tokenizer

MERGES = [("a", "b"), ("Ġ", "t"), ("h", "e"), ("Ġt", "he")]


def build(specials=("<end>",), template=None, alphabet=None, eos="<end>"):
    """Byte-level; `alphabet` (text) limits it to those characters, without merges."""
    letters = sorted(alphabet or pre_tokenizers.ByteLevel.alphabet())
    merges = MERGES if alphabet is None else []
    pieces = [*specials, *letters, *(a + b for a, b in merges)]
    core = hf.Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in specials])
    end = pieces.index(eos)
    return Tokenizer(core, (end,), bos_id=None, pad_id=end, chat_template=template)
