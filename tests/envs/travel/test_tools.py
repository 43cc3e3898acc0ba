"""Every tool returns JSON that says what is in the world, and says what was wrong with a call."""

import inspect
import json
import typing

import pytest

from jaxrl.envs.travel import calls, geography, places, routes, tools
from jaxrl.messages import ToolCall
from jaxrl.tools import ToolError

WORLD = places.World(0)
LYON = geography.city("city", "Lyon")
MUSEUMS = places.of(WORLD, LYON, "museum")
SPOT = f"{MUSEUMS[0].name}, Lyon"


def run(name, **arguments):
    return json.loads(calls.BY_NAME[name](WORLD, **arguments))


@pytest.mark.parametrize("tool", tools.TOOLS, ids=lambda tool: tool.__name__)
def test_a_tool_is_typed_and_its_docstring_lists_its_parameters(tool):
    first, *others = inspect.signature(tool).parameters.values()
    assert first.name == "world" and all(p.annotation is not p.empty for p in others)
    lines = [line.strip() for line in inspect.getdoc(tool).splitlines()]
    assert [line.split(":")[0] for line in lines[2:]] == [p.name for p in others]


def test_the_choices_are_those_of_the_world():
    assert typing.get_args(tools.Mode) == tuple(routes.MODES)
    assert typing.get_args(tools.Category) == ("any", *places.CATEGORIES)


def test_poi_search_finds_by_name_and_by_category():
    assert run("poi_search", city="Lyon", query=MUSEUMS[3].name, count=1)[0]["name"] == (
        MUSEUMS[3].name
    )
    rows = run("poi_search", city="lyon", category="museum", count=20)
    assert [r["name"] for r in rows] == [
        p.name for p in sorted(MUSEUMS, key=lambda p: (-p.rating, p.name))
    ]
    first = max(MUSEUMS, key=lambda p: p.rating)
    assert rows[0]["rating"] == first.rating and len(run("poi_search", city="Lyon")) == 5


def test_around_search_finds_all_within_the_radius_nearest_first():
    rows = run("around_search", near=SPOT, radius_km=4.0, count=20, category="restaurant")
    km = {p.name: geography.km(MUSEUMS[0], p) for p in places.of(WORLD, LYON, "restaurant")}
    expected = sorted((n for n in km if km[n] <= 4), key=km.get)
    assert [r["name"] for r in rows] == expected and 0 < len(expected) < len(km)
    assert all(abs(r["km"] - km[r["name"]]) < 0.006 for r in rows)


def test_navigation_adds_up_its_legs():
    via = [f"{p.name}, Lyon" for p in MUSEUMS[2:6]]
    way = run("navigation", origin=SPOT, destination="Lyon", via=via)
    assert [leg["from"] for leg in way["legs"][1:]] == [p.name for p in MUSEUMS[2:6]]
    for key in ("km", "minutes", "cost"):
        assert abs(way[key] - sum(leg[key] for leg in way["legs"])) < 0.006
    assert len(run("navigation", origin=SPOT, destination=SPOT, via=via * 4)["legs"]) == 17


def test_web_search_finds_the_page_that_says_it():
    pages = run("web_search", query="which museum is closed on Monday in Lyon?")
    assert pages[0]["title"] in ("Lyon: closing days", "Lyon: museum")
    assert run("web_search", query="best park in Lyon", count=1)[0]["title"] == "Lyon: park"
    assert all(p["title"].startswith("Lyon") for p in pages)
    assert "overview" in run("web_search", query="palace or gallery", count=1)[0]["title"]
    assert run("web_search", query="zzzz") == []


def test_weather_has_seasons():
    mean = lambda city, month: sum(
        run("weather", city=city, date=f"2027-{month}-{day:02d}")["high_c"] for day in range(1, 29)
    )
    assert mean("Oslo", "07") > mean("Oslo", "01") and mean("Sydney", "07") < mean("Sydney", "01")
    assert mean("Bangkok", "01") > mean("Oslo", "01")


REFUSED = [
    ("poi_search", {"city": "Lyonn"}, "city = 'Lyonn': not known; did you mean Lyon"),
    (
        "poi_search",
        {"city": "Lyon", "count": 21},
        "count = 21: out of range; give a number from 1",
    ),
    ("poi_search", {"city": "Lyon", "count": 0}, "count = 0"),
    ("poi_search", {"city": "Lyon", "category": "zoo"}, "category = 'zoo': .*one of any, museum"),
    ("poi_search", {"city": "Lyon", "query": "zzz"}, "query = 'zzz': it matches no place"),
    ("poi_search", {"city": "Lyon", "query": "z" * 1_000_000}, "query = .* 1000000 characters"),
    ("around_search", {"near": SPOT, "radius_km": float("nan")}, "radius_km = nan: out of range"),
    ("around_search", {"near": SPOT, "radius_km": 21.0}, "radius_km = 21.0"),
    ("around_search", {"near": "Nowhere Hall, Lyon"}, "near = 'Nowhere Hall'"),
    ("around_search", {"near": "x" * 1_000_000 + ", Lyon"}, "near = .* 1000000 characters"),
    ("navigation", {"origin": SPOT, "destination": "Lyon", "mode": "fly"}, "mode = 'fly'"),
    (
        "navigation",
        {"origin": SPOT, "destination": "Lyon", "via": [SPOT] * 17},
        "via = .* 17 places",
    ),
    ("navigation", {"origin": SPOT, "destination": "Lyon", "via": ["?, Lyon"]}, r"via\[0\] = "),
    ("navigation", {"origin": "Paris", "destination": "Lyon"}, "it goes at most 80 km a leg"),
    (
        "flight_search",
        {"origin": "Rome", "destination": "Rome", "date": "2027-01-01"},
        "origin is Rome too",
    ),
    ("flight_search", {"origin": "Rome", "destination": "Oslo", "date": "1 May"}, "YYYY-MM-DD"),
    (
        "train_search",
        {"origin": "Rome", "destination": "Milan", "date": "2035-01-01"},
        "2028-12-31",
    ),
    ("train_search", {"origin": "Rome", "destination": "Tokyo", "date": "2027-01-01"}, "no trains"),
    ("weather", {"city": "Rome", "date": "2027-02-30"}, "date = '2027-02-30': no date"),
    ("weather", {"city": "", "date": "2027-02-03"}, "city = ''"),
    ("web_search", {"query": " ? "}, "query = ' . ': it is empty"),
    ("web_search", {"query": "Rome", "count": 11}, "count = 11"),
]


@pytest.mark.parametrize("name, arguments, words", REFUSED)
def test_bad_arguments_are_refused_with_key_value_and_fix(name, arguments, words):
    with pytest.raises(ToolError, match=words) as caught:
        run(name, **arguments)
    assert len(str(caught.value)) < 500
    assert calls.run(WORLD, ToolCall(name, arguments)) == f"error: {caught.value}"


def test_calls_that_fit_no_tool_become_observations():
    unknown = calls.run(WORLD, ToolCall("teleport", {}))
    assert unknown.startswith("error: tool 'teleport' is not known; one of poi_search")
    assert "takes city, date" in calls.run(WORLD, ToolCall("weather", {"city": "Rome"}))
    assert "takes city, date" in calls.run(WORLD, ToolCall("weather", {"town": "Rome"}))
