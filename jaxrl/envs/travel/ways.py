"""Parts of the utility of tasks that are one decision: a route, a choice of places, a trip.

Each function: (task, calls made, Answer) -> (part -> value, constraint -> whether it is met).
"""

import itertools

from jaxrl.envs.travel import calls, plans, routes, scores


def direction(task, made, answer):
    """Parts and constraints of a route."""
    found = [p for name in answer.route if (p := scores.place(task, name))]
    names = [p.name for p in found]
    mode = answer.mode if answer.mode in routes.MODES else task.mode
    minutes = sum(leg.minutes for leg in routes.legs(mode, found))
    pairs = list(itertools.pairwise(names))
    parts = {
        "coverage": scores.share(name in names for name in task.places),
        "route": _way(task, found),
        "figures": scores.figure(answer.minutes, minutes),
        "grounded": scores.grounded(made, names, mode, pairs),
    }
    return parts, {
        "start": bool(answer.route) and names[:1] == [task.start],
        "end": bool(answer.route) and names[-1:] == [task.end],
        "known": bool(found) and len(found) == len(answer.route),
        "mode": answer.mode == task.mode,
        "limit": bool(pairs) and minutes <= task.limit,
    } | ({"before": plans.in_order(names, task.before)} if task.before else {})


def _way(task, found):
    """(shortest allowed way through the same places, the ends kept) / (way taken)."""
    if len(found) < 2:
        return 0.0
    first, *between, last = found
    rule = lambda order: plans.in_order([p.name for p in order], task.before)
    best = routes.shortest((first,), tuple(dict.fromkeys(between)), (last,), rule)
    return scores.ratio(routes.length((first, *best, last)), routes.length(found))


def search(task, made, answer):
    """Parts and constraints of a choice of places."""
    picks = answer.picks
    known = list(dict.fromkeys(p for name in picks if (p := scores.place(task, name))))
    met = [plans.conditions(task, p) for p in known]
    asked = max(task.count, len(picks))  # a pick too many, or named twice, is a wrong one
    padded = lambda flags: scores.share([*flags, *[0] * (asked - len(flags))])
    allowed = plans.search(task)
    bound = plans.preferred(task, allowed[task.count - 1])
    best = [p for p in known if p in allowed and plans.preferred(task, p) <= bound]
    of_kind = sum(m["category"] for m in met)
    parts = {
        "coverage": min(1.0, of_kind / task.count),
        "choice": padded([1] * len(best)),
        "grounded": scores.grounded(made, [p.name for p in known], "", []),
    }
    kinds = ("category", "radius", "rating", "price", "open")
    constraints = {name: padded([m[name] for m in met]) for name in kinds}
    return parts, constraints | {"count": len(picks) == len(known) == task.count}


def compare(task, made, answer):
    """Parts and constraints of a comparison of the modes there are."""
    listed, (options, best) = plans.departures(task), plans.compare(task)
    stated = {o.mode: (o, t) for o in answer.options if (t := scores.trip(listed, o))}
    chosen = scores.trip(listed, answer.choice)
    met = plans.in_time(task, chosen) if chosen else dict.fromkeys(("after", "by", "budget"), False)
    worth = lambda trip: plans.worth(task, trip)
    exact = lambda o, t: scores.figure(o.minutes, t.minutes) * scores.figure(o.price, t.price)
    seen, ways = calls.shown(made), calls.travelled(made)
    drive = ("driving", task.origin, task.city)
    shown = lambda t: drive in ways if t.mode == "driving" else f'"{t.number}"' in seen
    parts = {
        "coverage": scores.share([*(m in stated for m in listed), chosen is not None]),
        "figures": scores.share(m in stated and exact(*stated[m]) for m in listed),
        "best": scores.share(
            m in stated and _timely(task, stated[m][1]) and worth(stated[m][1]) <= worth(t)
            for m, t in options.items()
        ),
        "choice": scores.ratio(worth(best), worth(chosen)) if chosen and all(met.values()) else 0.0,
        "grounded": scores.share(shown(t) for _, t in stated.values()),
    }
    return parts, met


def _timely(task, trip):
    met = plans.in_time(task, trip)
    return met["after"] and met["by"]
