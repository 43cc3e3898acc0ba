"""Draws that are functions of a text: no state, the same in every process and version.

uniform("7/Paris/price", 5, 25)     always the same number in [5, 25)
"""

import statistics

from jaxrl.envs.base import place

BELL = statistics.NormalDist()


def uniform(key, low, high):
    """A number in [low, high)."""
    return low + (high - low) * place(key)


def integer(key, low, high):
    """An integer in [low, high], both included."""
    return low + int((high - low + 1) * place(key))


def normal(key):
    """A draw of the standard normal law."""
    return BELL.inv_cdf(min(max(place(key), 1e-12), 1 - 1e-12))


def pick(key, items):
    """One of the items."""
    return items[int(len(items) * place(key))]


def sample(key, items, count):
    """`count` different ones of the items (all, if there are fewer), in random order."""
    ranked = sorted(range(len(items)), key=lambda i: place(f"{key}/{i}"))
    return tuple(items[i] for i in ranked[:count])
