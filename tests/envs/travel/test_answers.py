"""The form of an answer: lenient to a model's habits, never fatal."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrl.envs.travel import answers
from jaxrl.envs.travel.answers import Answer, Option, Ride, Slot

WHOLE = Answer(
    route=("A", "B C", "D"),
    mode="walking",
    minutes=84.0,
    picks=("One", "Two"),
    options=(Option("flight", "AJ100", 90.0, 120.5), Option("driving", "-", 300.0, 99.0)),
    choice=Ride("", "flight", "AJ100"),
    travels=(Ride("2027-05-14", "train", "R100"),),
    stay="Amber Inn",
    visits=(Slot(1, 540, 600, "A"), Slot(2, 600, 1440, "B")),
    umbrella="yes",
    cost=123.5,
)


def test_what_is_written_is_read():
    found = answers.parse("Here you are.\n" + answers.write(WHOLE) + "\nHave a good time!")
    assert found == WHOLE._replace(read=14)


@pytest.mark.parametrize("field, key", [(f, k) for k, (f, _, _) in answers.KEYS.items()])
def test_each_line_is_read_alone_and_named_in_the_prompt(field, key):
    one = Answer(**{field: getattr(WHOLE, field)})
    found = answers.parse(answers.write(one))
    assert found == one._replace(read=found.read) and found.read >= 1
    assert f"\n{key}: " in answers.FORM


@pytest.mark.parametrize(
    "line, field, value",
    [
        ("- **ROUTE**: A → B -> C", "route", ("A", "B", "C")),
        ("**route:** A > **B**", "route", ("A", "B")),
        ("* visit: Day 1 | 9:00 – 10:30 | A", "visits", (Slot(1, 540, 630, "A"),)),
        ("3. PICK: `A`", "picks", ("A",)),
        ("  Cost: $1,234.50", "cost", 1234.5),
        ("COST: 80 USD", "cost", 80.0),
        ("MINUTES: 84 minutes", "minutes", 84.0),
        ("> UMBRELLA: No.", "umbrella", "no"),
        ("choice: Train | r100", "choice", Ride("", "train", "R100")),
        ("COST: 5\nCOST: 7", "cost", 7.0),
    ],
)
def test_habits_of_models_are_no_matter(line, field, value):
    found = answers.parse(line)
    assert getattr(found, field) == value and found.malformed == 0


@pytest.mark.parametrize(
    "line",
    [
        "ROUTE: A",
        "ROUTE: A > > B",
        "VISIT: 1 | morning | A",
        "VISIT: 1 | 09:00-10:00",
        "VISIT: first | 09:00-10:00 | A",
        "VISIT: 1 | 09:00-25:00 | A",
        "COST: cheap",
        "COST: " + "9" * 400,
        "MINUTES: -5",
        "OPTION: flight | A1 | 90",
        "CHOICE: flight",
        "TRAVEL: flight | A1",
        "UMBRELLA: maybe",
        "STAY:",
        "PICK: A | B",
    ],
)
def test_a_malformed_line_is_counted_and_the_others_stay(line):
    found = answers.parse(f"PICK: A\n{line}\nPICK: B")
    assert found == Answer(picks=("A", "B"), read=2, malformed=1)


def test_lines_beyond_the_limit_are_malformed():
    found = answers.parse("PICK: A\n" * 100)
    assert len(found.picks) == answers.LONGEST and found.malformed == 100 - answers.LONGEST
    assert answers.parse("PICK: " + "A" * 1_000_000) == Answer()
    assert answers.parse("ROUTE: " + " > ".join("AB" * 31)).malformed == 1


LINES = st.tuples(st.sampled_from([*answers.KEYS, "ſTAY", "PIC\u212a"]), st.text(max_size=40))
SPAN = st.from_regex(
    r"VISIT: \d{1,3} \| \d{1,3}:\d\d ?[-–] ?\d{1,6}:\d{1,3} \| [A-Z]?", fullmatch=True
)


@settings(deadline=None, max_examples=100)
@given(st.lists(LINES.map(": ".join) | SPAN | st.text(max_size=40)))
def test_parsing_never_raises(lines):
    found = answers.parse("\n".join(lines))
    assert isinstance(found, Answer) and 0 <= found.read <= answers.LONGEST
