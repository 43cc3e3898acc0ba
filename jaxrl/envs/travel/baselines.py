"""Policies to compare with: task -> the assistant's and tools' messages, as expert.solve gives.

nothing answers at once and says nothing. random_tool calls tools at random with arguments that make
sense, then fills the lines of an answer with what it happened to see.
"""

import re

from jaxrl.envs import draws
from jaxrl.envs.travel import answers, calls, places, routes
from jaxrl.envs.travel import task as tasks
from jaxrl.messages import Message, ToolCall

CALLS = 6  # of random_tool


def nothing(task):
    """No call, no answer."""
    return (Message("assistant", ""),)


def random_tool(task, key="0"):
    """CALLS random calls, then an answer from their results; key: chooses them."""
    key = f"{key}/{task!r}"
    wanted = [_call(f"{key}/{i}", task) for i in range(CALLS)]
    made = [(call, calls.run(tasks.world(task), call)) for call in wanted]
    seen = sorted(set(re.findall(r'"(?:name|number)": "([^"]*)"', calls.shown(made))))
    turns = [Message("assistant", "", tuple(wanted)), *(Message("tool", text) for _, text in made)]
    return (*turns, Message("assistant", answers.write(_answer(key, task, seen))))


def _call(key, task):
    """A random tool, with the task's own city, date and places as arguments."""
    spots = [f"{name}, {task.city}" for name in (task.start, *task.places) if name]
    spot = lambda which: draws.pick(f"{key}/{which}", [*spots, task.city])
    ways = {"origin": task.origin or draws.pick(f"{key}/from", ("Paris", "Tokyo", "Rome"))}
    ways |= {"destination": task.city, "date": task.date}
    category = draws.pick(f"{key}/category", tuple(places.CATEGORIES))
    mode = draws.pick(f"{key}/mode", tuple(routes.MODES))
    choices = {
        "poi_search": {"city": task.city, "category": category},
        "around_search": {"near": spot("near"), "category": category, "radius_km": 5.0},
        "navigation": {"origin": spot("a"), "destination": spot("b"), "mode": mode},
        "flight_search": ways,
        "train_search": ways,
        "weather": {"city": task.city, "date": task.date},
        "web_search": {"query": f"{category} in {task.city}"},
    }
    name = draws.pick(f"{key}/tool", tuple(choices))
    return ToolCall(name, choices[name])


def _answer(key, task, seen):
    """Lines of the form that the task's kind needs, filled at random."""
    names = tuple(n for n in seen if " " in n) or (task.city,)
    numbers = tuple(n for n in seen if " " not in n) or ("-",)
    some = draws.sample(f"{key}/some", names, 4)
    number = lambda what, low, high: float(draws.integer(f"{key}/{what}", low, high))
    ride = lambda date: answers.Ride(date, "train", draws.pick(f"{key}/{date}", numbers))
    slots = tuple(
        answers.Slot(1 + i % max(task.days, 1), 600 + 120 * i, 690 + 120 * i, name)
        for i, name in enumerate(some)
    )
    options = (answers.Option("train", draws.pick(key, numbers), number("m", 50, 500), 50.0),)
    modes = tuple(routes.MODES)
    fields = {
        "direction": {"route": (task.start, *some), "mode": draws.pick(key, modes)}
        | {"minutes": number("minutes", 20, 200)},
        "search": {"picks": some[: task.count]},
        "compare": {"options": options, "choice": ride("")},
        "one_day": {"visits": slots, "umbrella": "no", "cost": number("cost", 20, 200)},
        "multi_day": {"visits": slots, "stay": some[0], "cost": number("cost", 100, 900)}
        | {"travels": (ride(task.date), ride(tasks.last_day(task)))},
    }
    return answers.Answer(**fields[task.kind])
