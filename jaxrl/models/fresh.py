"""A small random policy of its own vocabulary, for tasks on which no pretrained one is at hand.

    fresh.write("runs/start", texts, FreshConfig(width=128, layers=4))

The tokenizer is byte-level BPE with a token a digit, fitted to the texts; the chat template is
ChatML. The parameters are random but for a head that copies (induction.py). What it writes is a
Hugging Face directory like any other.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import tokenizers as hf
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers

from jaxrl.data.tokenizers import Tokenizer
from jaxrl.models import checkpoints, decoder, induction, spec

SPECIALS = ("<|im_end|>", "<|im_start|>")
SPACE = 0.5  # how far a word with a space before it stands from the word alone; our choice
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclasses.dataclass(frozen=True)
class FreshConfig:
    """The `start` keys of a config. A Qwen2: its sizes, and those of its vocabulary."""

    vocab: int = 4096  # tokens at most
    width: int = 128
    layers: int = 4
    heads: int = 2  # of queries, and of keys and values; each is half as wide as the model
    feed_forward: int = 384
    context: int = 4096

    def __post_init__(self):
        if self.vocab < 256 + len(SPECIALS):
            raise ValueError(f"start.vocab={self.vocab}: give at least {256 + len(SPECIALS)}")
        for key in ("width", "layers", "heads", "feed_forward", "context"):
            if getattr(self, key) < 1:
                raise ValueError(f"start.{key}={getattr(self, key)}: give at least 1")
        if self.layers < 2:
            raise ValueError(f"start.layers={self.layers}: an induction head takes 2 at least")
        if self.width % 8:
            raise ValueError(f"start.width={self.width}: give a multiple of 8")


def write(path, texts, c, seed=0):
    """Fits the tokenizer to `texts`, draws the parameters, writes both to `path`."""
    tokenizer = fit(texts, c.vocab)
    model = decoder.Config(
        V=tokenizer.vocab_size,
        D=c.width,
        L=c.layers,
        H=c.heads,
        K=c.heads,
        N=c.width // 2,
        F=c.feed_forward,
        rope_theta=1e6,
        qkv_bias=True,
        context=c.context,
    )
    params = induction.wire(spec.init(decoder.specs(model), jax.random.key(seed)), model)
    params["embed"] = _spaced(params["embed"], tokenizer.token_bytes())
    checkpoints.save(params, model, tokenizer, path)


def _spaced(embed_VD, names):
    """Embeddings in which " word" is "word" and a direction of its own, all of length 1.

    What is read as the one can then be said as the other, as behind a quotation mark.
    """
    known = {name: i for i, name in enumerate(names)}
    bare = {i: known.get(name[1:]) for name, i in known.items() if len(name) > 1 and name[0] == 32}
    pairs = [(i, word) for i, word in bare.items() if word is not None]
    spaced, words = np.array(pairs, int).reshape(-1, 2).T
    found = embed_VD[words] + SPACE * embed_VD[known[b" "]]
    return embed_VD.at[spaced].set(found / jnp.linalg.norm(found, axis=1, keepdims=True))


def fit(texts, vocab, specials=SPECIALS):
    """Byte-level BPE of at most `vocab` tokens over `texts`: a Tokenizer.

    specials: the first tokens; rows end in the first of them, and are filled with it.
    """
    core = hf.Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=[AddedToken(s, special=True, normalized=False) for s in specials],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    return Tokenizer(core, (0,), bos_id=None, pad_id=0, chat_template=CHATML)
