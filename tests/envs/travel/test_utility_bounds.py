"""Whatever a well-formed answer says, its utility is a number between 0 and 1."""

from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrl.envs.travel import places, sketches
from jaxrl.envs.travel import task as tasks
from jaxrl.envs.travel.utility import utility

DAYS = ("10:00-11:00", "12:00-13:00", "13:30-15:00", "23:00-24:00")
LINES = st.one_of(
    st.lists(st.integers(0, 74), min_size=2, max_size=12).map(lambda stops: ("ROUTE", *stops)),
    st.tuples(st.just("PICK"), st.integers(0, 74)),
    st.tuples(st.just("STAY"), st.integers(0, 74)),
    st.tuples(st.just("VISIT"), st.integers(0, 74), st.integers(0, 5), st.sampled_from(DAYS)),
)


def line(names, key, *items):
    """A well-formed line with places that exist."""
    if key == "VISIT":
        return f"VISIT: {items[1]} | {items[2]} | {names[items[0]]}"
    return f"{key}: " + " > ".join(names[i] for i in items)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(tasks.KINDS), st.lists(LINES, max_size=12))
def test_any_answer_has_a_utility_between_0_and_1(kind, lines):
    task = sketches.draw(0, "test", kind, 0)
    names = [p.name for p in places.places(tasks.world(task), tasks.city(task)).values()]
    found = utility(task, (), "\n".join(line(names, *items) for items in lines))
    values = (found.value, *found.parts.values(), *found.constraints.values())
    assert all(0 <= value <= 1 for value in values)
