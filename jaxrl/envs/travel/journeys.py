"""The best journey found for a multi_day task: trips, a hotel, and the days between them."""

import datetime
import functools
import itertools

from jaxrl.envs.travel import places, plans
from jaxrl.envs.travel import task as tasks

DAY = (9 * 60, 20 * 60)  # of a day that no trip cuts short
SETTLE, LEAVE = 60, 90  # minutes from an arrival to the first step, from the last to a departure
A_DAY = 2  # sights of each day, a meal beside them


@functools.lru_cache(maxsize=1024)
def multi_day(task):
    """The cheapest trips and hotel, and for them the shortest days, as a Plan; or None."""
    out, back, hotel = cheapest(task, back=False), cheapest(task, back=True), cheapest_hotel(task)
    if None in (out, back, hotel):
        return None
    days = range(1, task.days + 1)
    spans = [window(task, day, out, back) for day in days]
    tables = plans.lunches(task, hotel, 2 * task.days)
    if len(tables) < task.days:
        return None
    must = tasks.named(task, task.places)

    @functools.cache
    def best(day, pair):
        meals = tuple(tables[day - 1 :: task.days])
        groups = (*((p,) for p in pair), meals)
        return plans.in_a_day(hotel, groups, task.mode, date(task, day), spans[day - 1], day)

    found = None
    for split in splits(must):
        made = [best(day, pair) for day, pair in zip(days, split, strict=True)]
        if all(made) and (found is None or sum(m[0] for m in made) < found[0]):
            found = sum(m[0] for m in made), tuple(v for m in made for v in m[1])
    return found and plans.Plan(found[1], total(task, found[1], hotel, out, back), hotel, out, back)


def splits(items):
    """Every way to deal the items to days, A_DAY to each; the days differ, the order in one not."""
    if not items:
        yield ()
        return
    for chosen in itertools.combinations(items, A_DAY):
        rest = tuple(i for i in items if i not in chosen)
        yield from ((chosen, *more) for more in splits(rest))


def cheapest(task, back):
    """The cheapest trip that comes by task.by, or leaves the city after task.after."""
    listed = [t for trips in plans.departures(task, back=back).values() for t in trips]
    meets = fits_back if back else fits_out
    return min((t for t in listed if meets(task, t)), key=lambda t: (t.price, t), default=None)


def fits_out(task, trip):
    """Whether a trip arrives early enough on the first day."""
    return trip.arrive <= f"{task.date} {task.by}"


def fits_back(task, trip):
    """Whether a trip leaves late enough on the last day."""
    return trip.depart >= f"{tasks.last_day(task)} {task.after}"


def fits_hotel(task, hotel):
    """Whether a place is a hotel, good and cheap enough."""
    return hotel.category == "hotel" and hotel.rating >= task.rating and hotel.price <= task.price


def cheapest_hotel(task):
    """The cheapest hotel that fits, or None."""
    found = places.of(tasks.world(task), tasks.city(task), "hotel")
    return min(
        (h for h in found if fits_hotel(task, h)), key=lambda h: (h.price, h.name), default=None
    )


def window(task, day, out, back):
    """(first, last) minute of a day; a trip that is None cuts nothing short."""
    first, last = DAY
    if day == 1 and out:
        same = out.arrive[:10] == task.date  # or else the day is over
        first = max(first, (places.minutes(out.arrive[-5:]) if same else last) + SETTLE)
    if day == task.days and back:
        last = min(last, places.minutes(back.depart[-5:]) - LEAVE)
    return first, last


def date(task, day):
    """The ISO date of day 1, 2, …"""
    return str(datetime.date.fromisoformat(task.date) + datetime.timedelta(days=day - 1))


def total(task, visits, hotel, out, back):
    """Trips, nights, tickets, meals and fares, in USD; what is None costs nothing."""
    nights = (task.days - 1) * hotel.price if hotel else 0
    ways = sum(t.price for t in (out, back) if t)
    return round(plans.cost(task, visits, hotel or tasks.city(task)) + nights + ways, 2)
