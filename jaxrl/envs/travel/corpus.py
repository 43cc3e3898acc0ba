"""The pages that web_search finds: guides to every city, written from what is in the world.

Lyon: museum    Every museum of Lyon, best rated first: Jade Moon Museum (4.9, …
"""

import functools
import math
import re
from collections import Counter
from typing import NamedTuple

from jaxrl.envs.travel import geography, places
from jaxrl.envs.travel.errors import fold

K1, B = 1.2, 0.75  # BM25's usual constants


class Page(NamedTuple):
    """One page of the corpus."""

    title: str
    text: str


@functools.lru_cache(maxsize=256)
def pages(world, city):
    """Every page about a City."""
    listed = [_category(world, city, category) for category in places.CATEGORIES]
    return (_overview(world, city), _hours(world, city), _arriving(city), *listed)


def search(world, query, count):
    """The `count` best pages by BM25 among those on the cities a query names, or overviews."""
    asked = fold(query)
    named = [c for name, c in geography.cities().items() if name in asked]
    found = [page for c in named for page in pages(world, c)]
    found = found or [_overview(world, c) for c in geography.cities().values()]
    scores = _bm25(_words(query), [_words(f"{p.title} {p.title} {p.text}") for p in found])
    ranked = sorted(range(len(found)), key=lambda i: (-scores[i], i))
    return [found[i] for i in ranked[:count] if scores[i] > 0]


def _bm25(query, documents):
    """Σ_w idf_w · f (k₁ + 1)/(f + k₁ (1 − b + b |d|/mean)), idf = ln(1 + (N − n + ½)/(n + ½))."""
    counts = [Counter(words) for words in documents]
    mean = sum(map(len, documents)) / len(documents)
    scores = [0.0] * len(documents)
    for word in set(query):
        n = sum(word in c for c in counts)
        idf = math.log(1 + (len(documents) - n + 0.5) / (n + 0.5))
        for i, c in enumerate(counts):
            norm = K1 * (1 - B + B * len(documents[i]) / mean)
            scores[i] += idf * c[word] * (K1 + 1) / (c[word] + norm)
    return scores


def _words(text):
    return [fold(w).rstrip("s") for w in re.findall(r"\w+", text)]


def _overview(world, city):
    best = sorted(places.places(world, city).values(), key=lambda p: (-p.rating, p.name))
    sights = [p for p in best if p.category not in ("hotel", "restaurant", "cafe")][:4]
    return Page(
        f"{city.name}: an overview",
        f"{city.name} ({city.country}) lies at {city.lat:.2f}, {city.lon:.2f}. What travellers "
        f"praise most: {', '.join(f'{p.name} ({p.category}, {p.rating})' for p in sights)}.",
    )


def _hours(world, city):
    closed = [p for p in places.places(world, city).values() if p.closed]
    listed = "; ".join(f"{p.name} is closed on {p.closed}s" for p in closed)
    return Page(f"{city.name}: closing days", f"{listed}. Check opening hours before you go.")


def _arriving(city):
    return Page(
        f"{city.name}: getting there and around",
        f"The airport of {city.name} is {city.airport}. Trains go to cities in "
        f"{', '.join(c for c in city.neighbours if c)}. In town, transit costs about 2 USD and a "
        "little by distance; walking is free and slow beyond 3 km.",
    )


def _category(world, city, category):
    best = sorted(places.of(world, city, category), key=lambda p: (-p.rating, p.name))
    listed = ", ".join(f"{p.name} ({p.rating}, {p.price:.0f} USD)" for p in best)
    return Page(
        f"{city.name}: {category}", f"Every {category} of {city.name}, best rated first: {listed}."
    )
