"""Tasks as people say them: an opening, the wish, and its limits, each in several wordings.

"Plan a route in Lyon, on foot: start at A, pass C and D and finish at B. See C earlier than D.
Keep the travel time within 75 minutes."
"""

from jaxrl.envs import draws
from jaxrl.envs.travel import places

WAYS = {
    "walking": ("on foot", "walking"),
    "cycling": ("by bike", "cycling"),
    "transit": ("by public transport", "using transit"),
    "driving": ("by car", "driving"),
}
WISHES = {
    "direction": (
        "I want to get from {start} to {end} in {city}, stopping at {places}, {way}.",
        "Plan a route in {city}, {way}: start at {start}, pass {places} and finish at {end}.",
        "Which order is shortest if I go {way} from {start} to {end} in {city} and also need to "
        "see {places}?",
        "We are in {city}. Starting at {start} and ending at {end}, going {way}, we would like to "
        "visit {places} in between. What is the best order?",
        "Find me a short way through {city} {way}. It begins at {start}, ends at {end}, and must "
        "take in {places}.",
        "{start} to {end} in {city}, {way}, via {places} in whatever order is quickest, please.",
    ),
    "search": (
        "Find {count} {category} options within {radius} km of {start} in {city}, open on {date} "
        "at {time}, rated {rating} or better and at most {price} USD.",
        "I'll be at {start} in {city} on {date} at {time}. Suggest {count} places of the kind "
        "'{category}' that are open then, no farther than {radius} km, with a rating of at least "
        "{rating} and a price of up to {price} USD.",
        "Looking for a {category} near {start}, {city}: {count} suggestions, not over {price} USD, "
        "rating {rating}+, within {radius} km, and open at {time} on {date}.",
        "Which {count} {category} places around {start}, {city} would you pick? They must be open "
        "at {time} on {date}, be rated {rating} or higher, cost {price} USD or less and lie within "
        "{radius} km.",
        "On {date} at {time} my group stands at {start} in {city}. Name {count} choices of "
        "category {category}: radius {radius} km, rating from {rating}, price up to {price} USD.",
    ),
    "compare": (
        "I have to travel from {origin} to {city} on {date}. Compare flight, train and driving.",
        "Flight, train or car from {origin} to {city} on {date}? Please compare them.",
        "What is the best way to go from {origin} to {city} on {date}? Look at planes, trains and "
        "the drive.",
        "Help me choose between flying, the train and driving, {origin} to {city}, on {date}.",
        "On {date} I go from {origin} to {city}. Set out my options by air, by rail and by road.",
    ),
    "one_day": (
        "Plan a day in {city} on {date}. I stay at {start} and must see {places}.",
        "I have one day, {date}, in {city} and sleep at {start}. Put {places} into a schedule.",
        "What would a good day in {city} look like on {date}? {places} have to be in it, and we "
        "start from {start}.",
        "My hotel in {city} is {start}. For {date} I need an itinerary that includes {places}.",
        "Make me a one-day itinerary for {city}, {date}, from {start}, with {places}.",
    ),
    "multi_day": (
        "Plan {days} days in {city}, from {date}, travelling from {origin} and back. I must see "
        "{places}.",
        "I live in {origin} and want a {days}-day trip to {city} starting on {date}. On my list: "
        "{places}.",
        "{days} days in {city} from {date}: we come from {origin} and return there. Please work in "
        "{places}.",
        "Organise a {days}-day journey from {origin} to {city} and back, first day {date}, with "
        "visits to {places}.",
        "From {origin} to {city} for {days} days, leaving on {date}. {places} are a must.",
    ),
}
LIMITS = {
    "before": (
        "{first} has to come before {second}.",
        "See {first} earlier than {second}.",
        "Please put {first} ahead of {second}.",
    ),
    "limit": (
        "The whole way may take {limit} minutes at most.",
        "I can spend up to {limit} minutes on the move.",
        "Keep the travel time within {limit} minutes.",
    ),
    "rated": ("Take the best rated ones.", "I care most about the rating."),
    "nearest": ("The nearer the better.", "Prefer the nearest ones."),
    "cheapest_places": ("Cheaper is better.", "Pick the cheapest ones."),
    "cheapest": ("Price decides.", "I want the cheapest one."),
    "fastest": ("Time on the way decides.", "I want the fastest one."),
    "trip": (
        "I cannot leave before {after} and must arrive by {by}.",
        "Departure {after} or later, arrival no later than {by}, the same day.",
    ),
    "day": (
        "Start at {after} or later and be done by {by}; go {way}.",
        "The day runs from {after} to {by}, and I get around {way}.",
    ),
    "extra": (
        "Add one more {category}, and a lunch at a restaurant rated {rating} or better.",
        "I also want to visit a {category} besides, and to have lunch in a restaurant with a "
        "rating of at least {rating}.",
    ),
    "umbrella": ("Do I need an umbrella?", "Tell me whether to bring an umbrella."),
    "journey": (
        "Arrive by {by} on the first day, leave at {after} or later on the last; in town, go "
        "{way}.",
        "I want to be there by {by} on day one and not leave before {after} on the last day. We "
        "get around {way}.",
    ),
    "nights": (
        "One hotel for all nights, rated {rating} or better and at most {price} USD a night, and a "
        "lunch each day at a restaurant of at least that rating.",
        "Book one hotel (rating {rating} or more, up to {price} USD a night) and plan lunch in a "
        "restaurant rated {rating} or more every day.",
    ),
    "budget": (
        "The budget is {budget} USD.",
        "It should not cost more than {budget} USD in all.",
        "I can pay up to {budget} USD.",
    ),
}
ASKED = {  # the limits a kind always has, in order
    "direction": ("limit",),
    "search": (),
    "compare": ("trip", "budget"),
    "one_day": ("day", "extra", "umbrella", "budget"),
    "multi_day": ("journey", "nights", "budget"),
}


def query(key, task):
    """The task as a person would say it; key: chooses the words."""
    values = _values(key, task)
    limits = [draws.pick(f"{key}/{name}", LIMITS[name]) for name in _limits(task)]
    wish = draws.pick(f"{key}/wish", WISHES[task.kind])
    return " ".join(text.format(**values) for text in (wish, *limits))


def _limits(task):
    prefer = "cheapest_places" if task.kind == "search" and task.prefer == "cheapest" else ""
    chosen = [prefer or task.prefer] if task.prefer else []
    return [*(["before"] if task.before else []), *ASKED[task.kind], *chosen]


def _values(key, task):
    first, second = task.before or ("", "")
    way = draws.pick(f"{key}/way", WAYS[task.mode]) if task.mode else ""
    whole = {n: f"{getattr(task, n):g}" for n in ("price", "budget", "rating")}
    listed = draws.sample(f"{key}/listed", task.places, len(task.places))
    dated = {"date": f"{places.weekday(task.date)} {task.date}"}
    named = dated | {"places": _joined(listed), "first": first, "second": second, "way": way}
    return task._asdict() | whole | named | {"radius": f"{task.radius_km:g}"}


def _joined(names):
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)
