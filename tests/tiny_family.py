"""Two tiny embedders of one base, one good and one bad at texts with the same words."""

import itertools
import json

import jax
import numpy as np
import tiny_embedder

from jaxrl.models import encoder, spec
from jaxrl.recipes import merge

WORDS = ("the", "cat", "sat", "on", "mat", "!")
C, BASE, TOKENIZER = tiny_embedder.both_ways()


def scaled(params, **factors):
    """Parameters of which those named are multiplied: parallel to what they were."""
    change = lambda path, x: x * factors[path[-1].key] if path[-1].key in factors else x
    return jax.tree_util.tree_map_with_path(change, params)


GOOD = scaled(BASE, position=0.1, o=0.1, down=0.1)  # nearly the mean of its words
BAD = scaled(BASE, position=3.0, embed=0.3)  # of where they stand


def near(seed, share=0.5):
    """The base and noise, as after some training."""
    rng = np.random.default_rng(seed)
    noise = lambda x: (share * x.std() * rng.normal(size=x.shape)).astype(np.float32)
    return jax.tree.map(lambda x: x + noise(x), BASE)


def family(*models):
    return merge.Family(C, TOKENIZER, BASE, list(models))


def rows():
    """Queries of three words, the same words turned round, and a text that begins alike."""
    chosen = list(itertools.combinations(WORDS, 3))[::2]
    turned = lambda words: " ".join(reversed(words))
    return [
        {
            "query": " ".join(a),
            "positives": [turned(a)],
            "negatives": [" ".join((*a[:2], b[2])), " ".join((a[0], *b[1:]))],
        }
        for a, b in zip(chosen, chosen[1:] + chosen[:1], strict=True)
    ]


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def specs(c=tiny_embedder.ENCODER):
    return encoder.specs(c)


def leads():
    """How many leading axes of each parameter count tensors of their own."""
    return jax.tree.map(lambda s: int("layers" in s.axes), specs(), is_leaf=spec.is_spec)
