"""Ways and fares against the formula written out, and orders against the best of all."""

import itertools

import numpy as np
import pytest

from jaxrl.envs.travel import geography, places, routes
from jaxrl.tools import ToolError

WORLD = places.World(0)
PARIS, LYON = (geography.city("city", n) for n in ("Paris", "Lyon"))
SPOTS = tuple(places.places(WORLD, PARIS).values())


@pytest.mark.parametrize(
    "mode, detour, speed, wait, fare, per_km",
    [
        ("walking", 1.25, 4.8, 0, 0, 0),
        ("cycling", 1.25, 14, 2, 0, 0),
        ("transit", 1.35, 20, 8, 2, 0.1),
        ("driving", 1.3, 28, 5, 1, 0.25),
    ],
)
def test_a_leg_in_town(mode, detour, speed, wait, fare, per_km):
    for a, b in itertools.pairwise(SPOTS[:20]):
        km = detour * geography.km(a, b)
        leg = routes.leg(mode, a, b)
        assert abs(leg.km - km) < 0.006 and abs(leg.cost - fare - per_km * km) < 0.006
        assert abs(leg.minutes - wait - 60 * km / speed) <= 0.5 or leg.minutes == 1


def test_a_long_drive_is_on_motorways_and_a_long_walk_is_refused():
    leg = routes.leg("driving", PARIS, LYON)
    assert abs(leg.minutes - (5 + 60 * 30 / 28 + 60 * (leg.km - 30) / 95)) < 1
    with pytest.raises(ToolError, match=r"mode = 'walking': .* 40 km .* use driving"):
        routes.leg("walking", PARIS, LYON)


@pytest.mark.parametrize("count", [0, 1, 4, 6])
def test_the_shortest_order_is_the_best_of_all_orders(count):
    first, last, *between = SPOTS[: count + 2]
    found = routes.shortest((first,), tuple(between), (last,))
    assert sorted(found) == sorted(between)
    every = [routes.length((first, *o, last)) for o in itertools.permutations(between)]
    np.testing.assert_allclose(routes.length((first, *found, last)), min(every), rtol=1e-12)


def test_a_rule_holds_where_it_can():
    first, last, *between = SPOTS[:6]
    worst = min(itertools.permutations(between), key=lambda o: -routes.length((first, *o, last)))
    rule = lambda order: order == worst
    assert routes.shortest((first,), tuple(between), (last,), rule) == worst
    assert len(routes.shortest((first,), tuple(between), (last,), lambda order: False)) == 4


def test_many_places_get_a_good_order():
    """Beyond seven places: much shorter than by chance, and not to be mended by one turn."""
    first, *between = SPOTS[:14]
    found = routes.shortest((first,), tuple(between))
    length = routes.length((first, *found))
    assert sorted(found) == sorted(between) and length < 0.7 * routes.length(SPOTS[:14])
    for i, j in itertools.combinations(range(len(found) + 1), 2):
        turned = (*found[:i], *found[i:j][::-1], *found[j:])
        assert routes.length((first, *turned)) >= length - 1e-6
    last = SPOTS[20]
    between = tuple(between)
    kept = routes.shortest((first,), between, (last,))
    assert sorted(kept) == sorted(between) != list(kept)
    assert len(routes.shortest((), between)) == 13
