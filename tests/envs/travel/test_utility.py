"""Every constraint and every part can be broken, is then noticed by name, and lowers the utility.

Each case takes the expert's answer to a task and breaks one thing in it; None says that the task
gives no occasion to, and another is tried.
"""

import pytest

from jaxrl.envs.travel import answers, expert, journeys, places, plans, routes, scores, sketches
from jaxrl.envs.travel import task as tasks
from jaxrl.envs.travel.answers import Ride
from jaxrl.envs.travel.utility import utility

TRIED = 25  # tasks of a kind
other_mode = lambda mode: "walking" if mode != "walking" else "driving"


def listed(task):
    return places.places(tasks.world(task), tasks.city(task)).values()


def swapped(items, a, b):
    items = list(items)
    i, j = items.index(a), items.index(b)
    items[i], items[j] = items[j], items[i]
    return tuple(items)


def ordered(task, a):
    return task.before and a._replace(route=swapped(a.route, *task.before))


def lengthened(task, a):
    """Back and forth until the time is over."""
    first, second, *rest = a.route
    return a._replace(route=(first, *(second, rest[0]) * 20, *rest[1:]))


def worse_order(task, a):
    """Still in the order asked for, still from start to end, but longer."""
    first, *between, last = a.route
    order = (first, *between[::-1], last)
    known = tasks.named(task, order), tasks.named(task, a.route)
    longer = routes.length(known[0]) > 1.02 * routes.length(known[1])
    return a._replace(route=order) if longer and not task.before else None


def picked(name):
    """In place of the first pick, a place that breaks one condition alone."""

    def broken(task, a):
        for p in listed(task):
            met = plans.conditions(task, p)
            if not met.pop(name) and all(met.values()):
                return a._replace(picks=(p.name, *a.picks[1:]))
        return None

    return broken


def second_best(task, a):
    last = plans.search(task)[-1]
    bound = plans.preferred(task, plans.search(task)[task.count - 1])
    worse = plans.preferred(task, last) > bound
    return a._replace(picks=(last.name, *a.picks[1:])) if worse else None


def chosen(name):
    """A choice that breaks one condition alone."""

    def broken(task, a):
        for trip in (t for found in plans.departures(task).values() for t in found):
            met = plans.in_time(task, trip)
            if not met.pop(name) and all(met.values()):
                return a._replace(choice=Ride("", trip.mode, trip.number))
        return None

    return broken


def worse_trip(task, a):
    """In time and within the budget, but neither cheapest nor fastest."""
    best = plans.compare(task)[1]
    for trip in (t for found in plans.departures(task).values() for t in found):
        if plans.worth(task, trip) > plans.worth(task, best) and all(
            plans.in_time(task, trip).values()
        ):
            return a._replace(choice=Ride("", trip.mode, trip.number))
    return None


def worse_option(task, a):
    """A real trip with its real figures, but not the best of its mode."""
    best = plans.compare(task)[0]["train"]
    for t in plans.departures(task)["train"]:
        if plans.worth(task, t) > plans.worth(task, best):
            wrong = answers.Option("train", t.number, float(t.minutes), t.price)
            return a._replace(options=tuple(wrong if o.mode == "train" else o for o in a.options))
    return None


def visit(category, **changes):
    """The first visit to a place of the category (None: any), changed."""

    def broken(task, a):
        found = [v for v in a.visits if category in (None, scores.place(task, v.place).category)]
        slot = found[0]._replace(**changes)
        return a._replace(visits=tuple(slot if v == found[0] else v for v in a.visits))

    return broken


def replaced(category, suits):
    """The same slot at another place of the category that `suits`."""

    def broken(task, a):
        slot = next(v for v in a.visits if scores.place(task, v.place).category == category)
        for p in listed(task):
            if p.category == category and suits(task, p):
                new = slot._replace(place=p.name)
                return a._replace(visits=tuple(new if v == slot else v for v in a.visits))
        return None

    return broken


def spendthrift(task, a):
    """Many dear meals more."""
    dear = sorted(listed(task), key=lambda p: -p.price * (p.category == "restaurant"))[:12]
    more = tuple(answers.Slot(1, 800, 860, p.name) for p in dear)
    return a._replace(visits=(*a.visits, *more))


def without(place):
    return lambda task, a: a._replace(visits=tuple(v for v in a.visits if v.place != place(task)))


def ride(back, wrong):
    """Another trip there (or back), which is `wrong`."""

    def broken(task, a):
        for t in (t for found in plans.departures(task, back=back).values() for t in found):
            if wrong(task, t):
                rides = list(a.travels)
                rides[int(back)] = Ride(t.depart[:10], t.mode, t.number)
                return a._replace(travels=tuple(rides))
        return None

    return broken


def hotel(task, a):
    names = [p.name for p in listed(task) if p.category == "hotel" and p.price > task.price]
    return a._replace(stay=names[0]) if names else None


DAY_CASES = {
    "coverage": without(lambda task: task.places[0]),
    "feasible": visit(None, end=0),
    "route": lambda task, a: a._replace(
        visits=tuple(
            v._replace(place=w.place)
            for v, w in zip(a.visits, [*a.visits[1:], a.visits[0]], strict=True)
        )
    ),
    "budget": spendthrift,
    "figures": lambda task, a: a._replace(cost=a.cost * 1.2),
    "hours": visit(None, start=5 * 60),
    "lunch": visit("restaurant", start=15 * 60, end=16 * 60),
    "rating": replaced("restaurant", lambda task, p: p.rating < task.rating),
}
CASES = {
    "direction": {
        "coverage": lambda task, a: a._replace(
            route=tuple(n for n in a.route if n != task.places[0])
        ),
        "route": worse_order,
        "figures": lambda task, a: a._replace(minutes=a.minutes * 1.2),
        "start": lambda task, a: a._replace(route=a.route[1:]),
        "end": lambda task, a: a._replace(route=a.route[:-1]),
        "known": lambda task, a: a._replace(route=(*a.route[:2], "Nowhere Hall", *a.route[2:])),
        "mode": lambda task, a: a._replace(mode=other_mode(task.mode)),
        "limit": lengthened,
        "before": ordered,
    },
    "search": {
        "coverage": lambda task, a: a._replace(picks=("Nowhere Hall", *a.picks[1:])),
        "choice": second_best,
        "count": lambda task, a: a._replace(picks=(*a.picks, plans.search(task)[-1].name)),
        **{name: picked(name) for name in ("category", "radius", "rating", "price", "open")},
    },
    "compare": {
        "coverage": lambda task, a: a._replace(options=a.options[1:]),
        "figures": lambda task, a: a._replace(
            options=(a.options[0]._replace(price=a.options[0].price + 20), *a.options[1:])
        ),
        "best": worse_option,
        "choice": worse_trip,
        **{name: chosen(name) for name in ("after", "by", "budget")},
    },
    "one_day": DAY_CASES
    | {
        "umbrella": lambda task, a: a._replace(umbrella="no" if a.umbrella == "yes" else "yes"),
    },
    "multi_day": DAY_CASES
    | {
        "arrival": ride(False, lambda task, t: not journeys.fits_out(task, t)),
        "departure": ride(True, lambda task, t: not journeys.fits_back(task, t)),
        "hotel": hotel,
    },
}
EACH = [(kind, name) for kind, cases in CASES.items() for name in cases]


def experts(kind):
    """(task, the expert's calls with results, its answer) of some tasks."""
    for number in range(TRIED):
        task = sketches.draw(0, "test", kind, number)
        messages = expert.solve(task)
        wanted = [call for m in messages for call in m.calls]
        results = [m.content for m in messages if m.role == "tool"]
        made = tuple(zip(wanted, results, strict=True))
        yield task, made, answers.parse(messages[-1].content)


@pytest.mark.parametrize("kind, name", EACH)
def test_what_is_broken_is_noticed(kind, name):
    for task, made, answer in experts(kind):
        broken = CASES[kind][name](task, answer)
        if not broken:
            continue
        before = utility(task, made, answers.write(answer))
        after = utility(task, made, answers.write(broken))
        assert (before.parts | before.constraints)[name] == 1
        assert (after.constraints if name in after.constraints else after.parts)[name] < 1
        assert after.value < before.value
        return
    pytest.fail(f"none of {TRIED} tasks gives an occasion to break {name}")


@pytest.mark.parametrize("kind", tasks.KINDS)
def test_every_constraint_and_part_has_a_case(kind):
    for task, made, answer in experts(kind):
        found = utility(task, made, answers.write(answer))
        assert found.value == pytest.approx(1)
        named = set(found.parts) | set(found.constraints)
        assert named - {"constraints", "form", "grounded"} <= set(CASES[kind])


@pytest.mark.parametrize("kind", tasks.KINDS)
def test_the_value_is_the_formula(kind):
    task, _, answer = next(experts(kind))
    text = answers.write(answer).replace("\n", "\nCOST: dear\n", 1)
    found = utility(task, (), text)
    parts = dict(found.parts)
    coverage = parts.pop("coverage")
    assert found.value == pytest.approx(coverage * sum(parts.values()) / len(parts))
    assert parts["constraints"] == pytest.approx(
        sum(found.constraints.values()) / len(found.constraints)
    )
    assert parts["grounded"] == 0 and parts["form"] < 1 and found.malformed == 1


def test_one_place_named_thrice_counts_once():
    """With and without its city, in other letters: it once filled all the picks."""
    for task, made, answer in experts("search"):
        first = answer.picks[0]
        variants = (first, f"{first}, {task.city}", first.upper())[: task.count]
        found = utility(task, made, answers.write(answer._replace(picks=variants)))
        assert found.parts["coverage"] == pytest.approx(1 / task.count)
        assert found.constraints["count"] == 0


@pytest.mark.parametrize("kind", ["one_day", "multi_day"])
def test_days_that_the_task_has_not_cover_nothing(kind):
    """A visit a day for two months is no plan for a day."""
    for task, made, answer in experts(kind):
        later = tuple(v._replace(day=v.day + 10) for v in answer.visits)
        found = utility(task, made, answers.write(answer._replace(visits=later)))
        assert found.parts["feasible"] == found.constraints["hours"] == 0
        assert found.parts["coverage"] <= 0.5 and (kind == "multi_day" or found.value == 0)
