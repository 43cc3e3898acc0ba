"""Parts of the utility of tasks that are schedules: a day, a journey of several.

Each function: (task, calls made, Answer) -> (part -> value, constraint -> whether it is met).
"""

from jaxrl.envs.travel import journeys, places, plans, scores
from jaxrl.envs.travel import task as tasks
from jaxrl.envs.travel import weather as forecasts


def one_day(task, made, answer):
    """Parts and constraints of a day."""
    found, unknown = scores.visits(task, answer)
    (start,) = tasks.named(task, (task.start,))
    names = [v.place.name for v in found]
    dates, window = {1: task.date}, {1: (places.minutes(task.after), places.minutes(task.by))}
    there = {v.place for v in found if v.day in dates}
    kinds = {p.category for p in there if p.name not in task.places}
    asked = [*_seen(task, there), task.category in kinds, plans.EATING in kinds]
    wet = forecasts.umbrella(tasks.world(task), tasks.city(task), tasks.date(task))
    parts = _days(task, found, unknown, start, dates, window)
    cost = plans.cost(task, found, start)
    return parts | {
        "coverage": scores.share(asked),
        "budget": scores.within_budget(cost, task.budget),
        "figures": scores.figure(answer.cost, cost),
        "grounded": scores.grounded(made, names, task.mode, scores.legs(start, found)),
    }, _manners(task, found, window) | {"umbrella": answer.umbrella == wet}


def multi_day(task, made, answer):
    """Parts and constraints of a journey."""
    found, unknown = scores.visits(task, answer)
    stay = scores.place(task, answer.stay) if answer.stay else None
    out, back = (_ride(task, answer, way) for way in (False, True))
    start = stay or tasks.city(task)
    days = range(1, task.days + 1)
    dates = {day: journeys.date(task, day) for day in days}
    windows = {day: journeys.window(task, day, out, back) for day in days}
    names = [v.place.name for v in found]
    there = {v.place for v in found if v.day in dates}
    fed = {v.day for v in found if scores.meal(v)}
    cost = journeys.total(task, found, stay, out, back)
    booked = [stay is not None and stay.category == "hotel", out is not None, back is not None]
    used = [*names, *([stay.name] if stay else []), *(t.number for t in (out, back) if t)]
    parts = _days(task, found, unknown, start, dates, windows) | {
        "coverage": scores.share([*_seen(task, there), *(d in fed for d in days), *booked]),
        "budget": scores.within_budget(cost, task.budget),
        "figures": scores.figure(answer.cost, cost),
        "grounded": scores.grounded(made, used, task.mode, scores.legs(start, found)),
    }
    return parts, _manners(task, found, windows) | {
        "arrival": out is not None and journeys.fits_out(task, out),
        "departure": back is not None and journeys.fits_back(task, back),
        "hotel": stay is not None and journeys.fits_hotel(task, stay),
    }


def _seen(task, there):
    """Which of the places asked for are among those visited on a day of the task."""
    names = {p.name for p in there}
    return [name in names for name in task.places]


def _days(task, found, unknown, start, dates, windows):
    """The parts that look at a schedule; a visit to no known place cannot be made."""
    flags = scores.feasible(task, found, start, dates, windows)
    return {
        "feasible": scores.share([*flags, *[False] * unknown]),
        "route": scores.route(task, found, start, dates, windows),
    }


def _manners(task, found, windows):
    """Constraints on the hours, and on meals: all at lunch time, at restaurants rated well."""
    inside = [
        v.day in windows and windows[v.day][0] <= v.start and v.end <= windows[v.day][1]
        for v in found
    ]
    meals = [v for v in found if scores.meal(v)]
    return {
        "hours": bool(found) and all(inside),
        "lunch": bool(meals) and all(map(scores.lunch, meals)),
        "rating": bool(meals) and all(v.place.rating >= task.rating for v in meals),
    }


def _ride(task, answer, back):
    """The Trip of the day there (or back) that a TRAVEL line names, or None."""
    date = tasks.last_day(task) if back else task.date
    listed = plans.departures(task, back=back)
    named = (scores.trip(listed, ride) for ride in answer.travels if ride.date == date)
    return next(filter(None, named), None)
