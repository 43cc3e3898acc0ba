"""Places by counting, draws of lots, and checks: what every topology shares.

Players stand on the first axis, groups on any trailing axes. Nothing is sorted: a place is a count
of those ahead, N² comparisons in full vectors, which at N ≤ 64 beats XLA's sort many times.
"""

import jax
import jax.numpy as jnp


def shared(keys):
    """Places by descending key; ties share the better one.  keys: [N, ...].  returns: int32."""
    return (keys[None] > keys[:, None]).sum(1, dtype=jnp.int32)


def split(keys, weights=None):
    """Places by descending key, ties in listed order: a permutation.  keys: [N, ...] -> int32.

    With weights, by descending keys / weights, compared without dividing: sums of whole numbers
    then tie where their exact means do.
    """
    mine, theirs = keys[:, None], keys[None]
    if weights is not None:
        mine, theirs = mine * weights[None], theirs * weights[:, None]
    earlier = jnp.tri(len(keys), k=-1, dtype=bool)  # [i, j]: j is listed before i
    earlier = earlier.reshape(earlier.shape + (1,) * (keys.ndim - 1))
    return ((theirs > mine) | ((theirs == mine) & earlier)).sum(1, dtype=jnp.int32)


def listed(places):
    """The inverse of a permutation: who stands at each place.  places: [N, ...] int32."""
    index = column(len(places), places.ndim)
    return jnp.where(places[None] == column(len(places), places.ndim + 1), index, 0).sum(1)


def column(n, ndim):
    """0 … n−1 along the first of ndim axes."""
    return jnp.arange(n, dtype=jnp.int32).reshape((n,) + (1,) * (ndim - 1))


def to_players(n, players, values):
    """Σ of values over the listings of each player.  players, values: [M, ...] -> [n, ...]."""
    mine = players[None] == column(n, players.ndim + 1)
    return jnp.where(mine, values[None], 0).sum(1)


def draw_lots(key, shape):
    """Random uint32 lots, or, without a key, zeros: those leave every list in its order."""
    if key is None:
        return jnp.zeros(shape, jnp.uint32)
    typed = hasattr(key, "dtype") and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    raw = hasattr(key, "dtype") and key.dtype == jnp.uint32 and key.shape == (2,)
    if not (raw or (typed and key.shape == ())):
        raise ValueError(f"key={key!r}: give one key, as jax.random.key(0), or None: no shuffles")
    return jax.random.bits(key, shape)


def distinct(lots, drop=0):
    """Lots that never tie: their low bits become the index.  [n, ...] uint32 in 32 − drop bits."""
    low = max(len(lots) - 1, 0).bit_length()
    index = column(len(lots), lots.ndim).astype(jnp.uint32)
    return ((lots >> (low + drop)) << low) | index


def check_size(n):
    """Refuses a group without a member."""
    if n < 1:
        raise ValueError(f"n={n}: a tournament needs at least 1 player")


def check_scores(pairs, scores):
    """The scores [M, 2, ...] of the round's matches as f32, refused in any other shape."""
    scores = jnp.asarray(scores, jnp.float32)
    if scores.shape != pairs.shape:
        raise ValueError(
            f"scores of shape {scores.shape}: this round has matches of shape {pairs.shape}; "
            "give one score for each entry of pairs(state)"
        )
    return scores


def unscorable(scores):
    """Which groups hold a score that is not finite.  scores: [M, 2, ...].  returns: [...] bool."""
    return ~jnp.isfinite(scores).all((0, 1))


def voided(rank, void):
    """Ranks [N, ...], all −1 in the groups that hold an unscorable match."""
    return jnp.where(void, -1, rank)
