"""A fresh model that copies from birth: an induction head (arXiv:2209.11895), wired by hand.

    the first layer     a head looks at the token before, and writes it beside the token itself
    the second          every head looks where the token before is the one that stands here now,
                        and proposes the token that stood there

Trained from random weights, heads like these take millions of tokens to form; until then a policy
can use no name that it reads. All of it is an initial value like any other, and trained on. The
sizes are our choice.
"""

import jax.numpy as jnp
import numpy as np

from jaxrl.models import rotary

SURE = 16.0  # by how much the right position's score is ahead
LOUD = 3.0  # a proposal's length; an embedding's is 1


def check(c):
    """Raises on a decoder.Config that has no room for it."""
    if c.D != 2 * c.N or c.L < 2 or c.N % 4 or not c.qkv_bias or not c.tied:
        raise ValueError(
            f"D={c.D}, N={c.N}, L={c.L}, qkv_bias={c.qkv_bias}, tied={c.tied}: an induction head "
            "takes heads of half the width, a multiple of 4, two layers, biases and a tied head"
        )


def wire(params, c):
    """Parameters drawn by spec.init -> with the head; what else blocks would add begins at zero.

    The first N places of the width hold a token, the others the token before.
    """
    check(c)
    p = {name: np.array(x) for name, x in params["layers"].items()}
    p["o"][:], p["down"][:] = 0, 0
    one, two = np.eye(c.D, c.N), np.eye(c.D, c.N, -c.N)  # the places of a token, of the one before
    p["q"][0, :, 0], p["k"][0, :, 0] = 0, 0
    p["q_bias"][0, 0], p["k_bias"][0, 0] = _token_before(c)
    p["v"][0, :, 0], p["o"][0, 0] = one, two.T / c.D**0.5
    slow = np.arange(c.N) % (c.N // 2) >= c.N // 4  # dimensions that distance hardly turns
    scale = (4 * SURE * c.N**0.5 / c.D) ** 0.5
    for h in range(c.H):  # each by one half of the token
        half = scale * np.eye(c.N)[:, np.arange(c.N) // (c.N // 2) == h % 2]
        p["q"][1, :, h], p["k"][1, :, h % c.K] = 0, 0
        p["q"][1, :, h, slow] = (one @ half).T
        p["k"][1, :, h % c.K, slow] = (two @ half).T
        p["v"][1, :, h % c.K], p["o"][1, h] = one, LOUD / c.H / (c.D / 2) ** 0.5 * one.T
    layers = {name: jnp.asarray(x, params["layers"][name].dtype) for name, x in p.items()}
    return params | {"embed": _halved(params["embed"], c), "layers": layers}


def _token_before(c):
    """Biases of query and key [N] each, whose score is largest one position back."""
    angle = rotary.frequencies(c)[0]
    fast = np.arange(c.N // 2) < c.N // 4
    apart = np.delete(np.arange(c.context), 1)[:, None] - 1
    ahead = fast.sum() - (np.cos(apart * angle) * fast).sum(1).max()
    size = (SURE * c.N**0.5 / ahead) ** 0.5 * fast
    query = np.concatenate([size * np.cos(angle), -size * np.sin(angle)])
    return query, np.concatenate([size, 0 * size])


def _halved(embed, c):
    """Embeddings of length 1 in the first N places."""
    kept = embed * (jnp.arange(c.D) < c.N)
    return kept / jnp.linalg.norm(kept, axis=1, keepdims=True)
