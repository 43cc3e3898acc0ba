"""Real cities and airports, and distances against another formula."""

import numpy as np
import pytest

from jaxrl.envs.travel import geography
from jaxrl.envs.travel.errors import fold
from jaxrl.tools import ToolError

CITIES = geography.cities()


def chord(a, b):
    """The great circle by the angle between two vectors from the Earth's centre, no haversine."""
    angles = np.radians([(c.lat, c.lon) for c in (a, b)])
    vectors = [
        np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
        for lat, lon in angles
    ]
    return 6371.0088 * np.arctan2(np.linalg.norm(np.cross(*vectors)), np.dot(*vectors))


def test_distances_equal_the_angle_between_vectors():
    towns = list(CITIES.values())
    pairs = zip(towns, towns[7:] + towns[:7], strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(geography.km(a, b), chord(a, b), rtol=1e-9)
        assert geography.km(a, b) == geography.km(b, a)
    assert geography.km(towns[0], towns[0]) == 0


@pytest.mark.parametrize(
    "a, b, km", [("Paris", "London", 344), ("Tokyo", "Osaka", 397), ("Sydney", "Perth", 3290)]
)
def test_known_distances(a, b, km):
    """Degrees taken for radians, or lat for lon, would still be symmetric."""
    assert abs(geography.km(CITIES[fold(a)], CITIES[fold(b)]) - km) < 0.02 * km


def test_airports_belong_to_their_cities():
    codes = {"Paris": "CDG", "Munich": "MUC", "Rome": "FCO", "Kyoto": "ITM", "Oslo": "OSL"}
    assert {name: CITIES[fold(name)].airport for name in codes} == codes
    assert len(CITIES) > 150 and all(len(c.airport) == 3 for c in CITIES.values())


def test_suburbs_are_no_cities():
    assert not {"brooklyn", "setagaya", "pudong"} & set(CITIES)
    towns = list(CITIES.values())
    near = [(a, b) for a in towns for b in towns if a < b and a.country == b.country]
    assert all(geography.km(a, b) > geography.APART for a, b in near)


@pytest.mark.parametrize("name", ["Köln", " köln", "KOLN"])
def test_a_city_is_found_however_it_is_written(name):
    assert geography.city("city", name).name == "Köln"


def test_an_unknown_city_is_refused_with_near_matches():
    with pytest.raises(ToolError, match="city = 'Lyons': not known; did you mean Lyon"):
        geography.city("city", "Lyons")
    with pytest.raises(ToolError, match=r"city = .*: 1000000 characters"):
        geography.city("city", "x" * 1_000_000)
