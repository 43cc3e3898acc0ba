"""Hostile and endless text: seen as what it is, and bounded."""

import pytest

from jaxrl.report.excerpts import excerpt, fair, visible


@pytest.mark.parametrize(
    "text, seen",
    [
        ("gnp\u202eexe.", "gnp‹U+202E›exe."),
        ("a\u200bb\x1b[31m\x00", "a‹U+200B›b‹U+001B›[31m‹U+0000›"),
        ("\ud83d", "‹U+D83D›"),
        ("\U000e0041", "‹U+E0041›"),
        ("שלום 旅行\tok\r\n", "שלום 旅行\tok\r\n"),
    ],
)
def test_what_hides_or_reorders_is_spelled_out_and_scripts_stay(text, seen):
    assert visible(text) == seen


def test_an_excerpt_keeps_both_ends_and_says_what_is_missing():
    text = excerpt("A" * 600 + "B" * 99_400, 100)
    assert text.startswith("A" * 50) and text.endswith("B" * 50) and "99900 characters" in text
    assert excerpt("short", 100) == "short"


@pytest.mark.parametrize(
    "lengths", [[5, 5, 5], [1, 100, 100], [0, 3, 9, 40, 1000], [200], [30] * 4]
)
def test_the_longest_are_cut_first_and_no_more_than_needed(lengths):
    total, used = 100, lambda limit: sum(min(n, limit) for n in lengths)
    limit = fair(lengths, total)
    assert used(limit) <= total
    assert used(limit + 1) > total or limit >= max(lengths)
