"""Places by counting, draws of lots, and checks: what every topology shares.

Players stand on the last axis, groups on any leading axes. Nothing is sorted: a place is a count of
those ahead, N² comparisons in full vectors, which at N ≤ 64 beats XLA's sort many times.
"""

import math

import jax
import jax.numpy as jnp

MURMUR = ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1))  # shift, then factor


def shared(keys):
    """Places by descending key; ties share the better one.  keys: [..., N].  returns: int32."""
    return counted(keys.shape[-1], lambda j: keys[..., j, None] > keys[..., None, :])


def split(keys, weights=None):
    """Places by descending key, ties in listed order: a permutation.  keys: [..., N] -> int32.

    With weights, by descending keys / weights, compared without dividing: sums of whole numbers
    then tie where their exact means do.
    """
    n = keys.shape[-1]
    earlier = jnp.tri(n, k=-1, dtype=bool).T  # [j, i]: j is listed before i

    def ahead(j):
        theirs, mine = keys[..., j, None], keys[..., None, :]
        if weights is not None:
            theirs, mine = theirs * weights[..., None, :], mine * weights[..., j, None]
        return (theirs > mine) | ((theirs == mine) & earlier[j])

    return counted(n, ahead)


def holders(places, wanted):
    """Who holds each of the wanted places.  places: [..., N], a permutation; wanted: [M]."""
    n, wanted = places.shape[-1], jnp.asarray(wanted)
    index = jnp.arange(n, dtype=jnp.int32)[:, None]
    return counted(n, lambda j: jnp.where(places[..., j, None] == wanted, index[j], 0))


def to_players(n, players, values):
    """Σ of values over the listings of each player.  players, values: [..., M] -> [..., n]."""
    column = jnp.arange(n, dtype=jnp.int32)
    mine = lambda j: jnp.where(players[..., j, None] == column, values[..., j, None], 0)
    return counted(players.shape[-1], mine)


def counted(n, part):
    """Σ_j of part(j) [..., j, m] over slices j that make up 0 … n−1: [..., m] int32.

    In slices of 32, as XLA's CPU compiler writes out every term of a longer sum.
    """
    slices = (slice(start, min(start + 32, n)) for start in range(0, n, 32))
    return sum(part(j).sum(-2, dtype=jnp.int32) for j in slices)


def taken(x, index):
    """x[..., index] group by group.  x: [..., N]; index: [..., M], all within."""
    return jnp.take_along_axis(x, index, -1, mode="promise_in_bounds")


def met(scores, pairs):
    """What both sides of each match get.  scores: [..., N, N]; pairs, result: [..., M, 2]."""
    *batch, n, _ = scores.shape
    cells = pairs * n + pairs[..., ::-1]
    flat = cells.reshape(*batch, 2 * cells.shape[-2])
    return taken(scores.reshape(*batch, n * n), flat).reshape(cells.shape)


def draw_lots(key, batch, n):
    """Random uint32 lots [*batch, n], or, without a key, zeros: those leave a list in its order.

    The key draws one word; a Weyl sequence from it, mixed by MurmurHash3's finaliser, gives every
    lot (as SplitMix does: Steele, Lea and Flood, 2014). Lots by the key alone would cost more than
    the tournament.
    """
    if key is None:
        return jnp.zeros((*batch, n), jnp.uint32)
    typed = hasattr(key, "dtype") and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    raw = hasattr(key, "dtype") and key.dtype == jnp.uint32 and key.shape == (2,)
    if not (raw or (typed and key.shape == ())):
        raise ValueError(f"key={key!r}: give one key, as jax.random.key(0), or None: no shuffles")
    number = jnp.arange(math.prod(batch) * n, dtype=jnp.uint32).reshape(*batch, n)
    start = jax.random.bits(key) + number * jnp.uint32(0x9E3779B9)
    mix = lambda x, by: ((x ^ (x >> by[0])) * by[1], None)
    # A loop, or XLA's CPU compiler mixes a lot anew in each comparison with it.
    return jax.lax.scan(mix, start, jnp.array(MURMUR, jnp.uint32))[0]


def distinct(lots, drop=0):
    """Lots that never tie: their low bits become the index.  [..., n] uint32 in 32 − drop bits."""
    n = lots.shape[-1]
    low = max(n - 1, 0).bit_length()
    return ((lots >> (low + drop)) << low) | jnp.arange(n, dtype=jnp.uint32)


def check_size(n):
    """Refuses a group without a member."""
    if n < 1:
        raise ValueError(f"n={n}: a tournament needs at least 1 player")


def check_scores(pairs, scores):
    """The scores [..., M, 2] of the round's matches as f32, refused in any other shape."""
    scores = jnp.asarray(scores, jnp.float32)
    if scores.shape != pairs.shape:
        raise ValueError(
            f"scores of shape {scores.shape}: this round has matches of shape {pairs.shape}; "
            "give one score for each entry of pairs(state)"
        )
    return scores


def voided(rank, void):
    """Ranks [..., N], all −1 in the groups that hold an unscorable match.  void: [...] bool."""
    return jnp.where(void[..., None], -1, rank)
