"""Places: near their city, open as their rows say, the same in every process."""

import datetime
import json
import os
import pathlib
import subprocess
import sys

import pytest

from jaxrl.envs.travel import geography, places, tools
from jaxrl.envs.travel.errors import fold
from jaxrl.tools import ToolError

WORLD = places.World(0)
LYON = geography.city("city", "Lyon")
LISTED = places.places(WORLD, LYON)
ROOT = pathlib.Path(__file__).parents[3]


def test_each_category_has_its_places_with_different_names_near_the_city():
    counts = {c: len(places.of(WORLD, LYON, c)) for c in places.CATEGORIES}
    assert counts == {c: kind.count for c, kind in places.CATEGORIES.items()}
    assert len({p.name for p in LISTED.values()}) == sum(counts.values())
    assert all(geography.km(LYON, p) < 9 for p in LISTED.values())
    assert all(1 <= p.rating <= 5 and p.price >= 0 for p in LISTED.values())
    assert {p.name for p in places.places(places.World(1), LYON).values()} != {
        p.name for p in LISTED.values()
    }


def test_opening_hours_minute_by_minute():
    """Against a table of all minutes of a week, filled from what the place's row says."""
    monday = datetime.date(2027, 5, 10)
    for place in [p for p in LISTED.values() if p.closed][:3] + list(LISTED.values())[-2:]:
        row = json.loads(tools.poi_search(WORLD, "Lyon", place.name, count=1))[0]
        opens, closes = ((60 * int(t[:2]) + int(t[3:])) for t in row["open"].split("-"))
        for day in range(7):
            date = monday + datetime.timedelta(days=day)
            resting = date.strftime("%A") == row.get("closed", "")
            for minute in range(0, 1440, 30):
                expected = not resting and opens <= minute and minute + 30 <= closes
                assert places.is_open(place, date, minute, minute + 30) == expected
    assert any(p.closed for p in LISTED.values()) and not all(p.closed for p in LISTED.values())


@pytest.mark.parametrize("text, total", [("00:00", 0), ("09:05", 545), (" 24:00", 1440)])
def test_times_of_day(text, total):
    assert places.minutes(text) == total and places.clock(total) == text.strip()


@pytest.mark.parametrize("text", ["24:01", "9", "10:60", "-1:30", "ten:30", "10:-5", ""])
def test_what_is_no_time_of_day(text):
    with pytest.raises(ValueError):
        places.minutes(text)


def test_a_place_is_found_with_its_city():
    first = next(iter(LISTED.values()))
    assert places.find(WORLD, "near", f"{first.name}, Lyon") == first
    assert places.find(WORLD, "near", f"{first.name.upper()} ,lyon") == first
    assert places.find(WORLD, "near", "Lyon") == LYON
    with pytest.raises(ToolError, match='"NAME, CITY"'):
        places.find(WORLD, "near", first.name)
    with pytest.raises(ToolError, match=f"did you mean {first.name}"):
        places.find(WORLD, "near", f"{first.name}s, Lyon")


SAMPLE = """
from jaxrl.envs.travel import places, sketches, task, tools
world = places.World(3)
text = repr([sketches.draw(3, "test", kind, 1) for kind in task.KINDS])
text += tools.flight_search(world, "Rome", "Paris", "2027-03-01")
text += tools.weather(world, "Rome", "2027-03-01") + tools.web_search(world, "parks in Rome")
"""


def test_the_world_and_its_tasks_are_the_same_in_another_process():
    """Python's own hash of a text differs from process to process."""
    here = {}
    exec(SAMPLE, here)
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    there = subprocess.run(
        [sys.executable, "-c", SAMPLE + "print(text)"],
        env=os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout == here["text"] + "\n"


def test_folding():
    assert fold(" Xi’an ") == "xian" and fold("Çanakkale-1") == "canakkale1"
