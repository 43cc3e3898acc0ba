"""One candidate a reply, and equality of numbers, words and expressions."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrl.envs import answers


@pytest.mark.parametrize(
    "reply, gold, found",
    [
        ("12", "7", "12"),
        ("7 + 5 = 12.", "7", "12"),
        ("7 - 5", "7", "5"),  # a subtraction, not the number -5
        ("that makes −4", "7", "-4"),
        ("(5)-3", "7", "3"),
        ("$1,234.50 in all", "7", "1234.50"),
        ("The answer is 12 because 7 + 5", "7", "12"),
        ("The answer is 11. No, the answer is: 12", "7", "12"),
        ("so 3\n#### 18\nand 99", "7", "18"),
        (r"hence \boxed{\frac{1}{2}}, not 3", "7", r"\frac{1}{2}"),
        (r"\boxed{18 \text{ dollars}}", "7", "18"),
        (r"\boxed{18", "7", "18"),  # cut off by the length limit
        ("<answer> 5 </answer> 6", "7", "5"),
        ("no digits here", "7", "no digits here"),
        ("", "7", ""),
        ("Yes, it is.", "No", "Yes"),
        ("no... in the end YES", "no", "yes"),
        ("First I think.\nThe answer is: **fish**.", "cat", "fish"),
        ("It swims.\n\n `fish` \n", "cat", "fish"),
        ("He sat.", "It ran.", "He sat."),  # a full stop that belongs to the answer
        ("1 2\n3 4\n", "9 9\n9 9", "1 2\n3 4"),
        ("R U R'", None, "R U R'"),
    ],
)
def test_lenient_extraction(reply, gold, found):
    assert answers.extract(reply, "lenient", gold) == found


def test_strict_takes_the_reply_and_marked_only_a_mark():
    assert answers.extract(" 12\n", "strict", "12") == "12"
    assert answers.extract("It is 12", "strict", "12") == "It is 12"
    assert answers.extract("It is 12", "marked", "12") == ""
    assert answers.extract("3 + 9\n#### 12", "marked", "12") == "12"


@given(st.lists(st.integers(0, 999), min_size=2, max_size=20, unique=True))
def test_listing_many_numbers_scores_one_of_them(numbers):
    """A reward that accepted any number in the reply would teach the policy to list them all."""
    reply = ", ".join(map(str, numbers)).replace(",", " ,")
    right = [n for n in numbers if answers.extract(reply, "lenient", str(n)) == str(n)]
    assert right == [numbers[-1]]


@settings(deadline=None)
@given(
    st.text(max_size=40), st.sampled_from(answers.MODES), st.sampled_from(["7", "yes", "ab", None])
)
def test_extraction_never_raises(reply, mode, gold):
    assert isinstance(answers.extract(reply, mode, gold), str)


@pytest.mark.parametrize(
    "answer, gold",
    [
        ("1/2", "0.5"),
        (r"\frac{1}{2}", "0.5"),
        (r"-\dfrac{1}{2}", "-0.50"),
        ("1,000", "1000"),
        ("$18", "18"),
        ("−4.0", "-4"),
        (r"\sqrt{8}", r"2\sqrt{2}"),
        ("2*sqrt(2)", r"$\sqrt{8}$"),
        ("(x+1)^2", "x^2+2x+1"),
        ("x=5", "5"),
        ("(1,2)", "(1, 2)"),
        ("10^3", "1000"),
        ("Fish.", "fish"),
    ],
)
def test_equal(answer, gold):
    assert answers.equal(answer, gold) and answers.equal(gold, answer)


@pytest.mark.parametrize(
    "answer, gold",
    [
        ("112", "12"),
        ("0.333", "1/3"),
        ("1/0", "1"),
        ("", "0"),
        ("12 or 3", "3"),
        ("3, 12", "3"),
        ("18 dollars", "18"),  # strict replies earn nothing for prose around the number
        ("(2,1)", "(1,2)"),
        ("x^2+2x+2", "(x+1)^2"),
        ("won", "now"),  # equal as products of letters
        ("(" * 300 + "x" + ")" * 300, "x"),  # its parser needs more than ten seconds
        ("1" * 5000, "1"),  # more digits than int() reads
    ],
)
def test_not_equal(answer, gold):
    assert not answers.equal(answer, gold)
