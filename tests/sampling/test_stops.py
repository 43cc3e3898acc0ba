"""The stop automaton against a plain text search over everything a row has said."""

import numpy as np
import pytest
import tiny

from jaxrl.sampling import stops

PIECES = [b"", b"a", b"b", b"ab", b"ba", b"aab", b"\n", b"\n\n", b"a\n", "é".encode()[:1]]
PIECES += ["é".encode()[1:], "日".encode()[:2], "日".encode()[2:], "日é".encode(), b"", b"abab"]
END = 14  # an id without bytes of its own, as special tokens are


def first_stop(ids, strings, stop_ids):
    """How many tokens a row takes: naive search in the bytes after each one."""
    text = b""
    for n, i in enumerate(ids, start=1):
        text += PIECES[i]
        if i in stop_ids or any(s.encode() in text for s in strings):
            return n
    return None


def run(table, ids):
    """How many tokens until the automaton's last state."""
    state = stops.START
    for n, i in enumerate(ids, start=1):
        state = table[state, i]
        if state == len(table) - 1:
            return n
    return None


@pytest.mark.parametrize(
    "strings",
    [
        (),
        ("\n\n",),
        ("ab",),
        ("aabab", "bb", "ba\n"),  # one begins inside another, and one ends inside another
        ("abab", "ba"),
        ("aaaa", "aa"),  # the longer can never be needed
        ("日é", "é\n"),
        ("日",),
    ],
)
def test_stops_exactly_where_a_text_search_does(strings):
    """A stop string may lie across tokens, and begin or end within a character of several bytes."""
    rng = np.random.default_rng(0)
    table = stops.table(strings, (END,), PIECES, vocab=len(PIECES) + 3)
    found = 0
    for _ in range(400):
        ids = rng.integers(0, len(PIECES), 12)
        want = first_stop(ids, strings, (END,))
        assert run(table, ids) == want, [PIECES[i] for i in ids]
        found += want is not None
    assert found > 100


def test_stop_tokens_need_no_strings_and_a_stopped_row_stays_so():
    table = stops.table((), (3, 5), PIECES, vocab=20)
    assert table.shape == (2, 20)
    assert set(np.flatnonzero(table[0])) == {3, 5}
    strings = stops.table(("ab", "日é"), (3,), PIECES, vocab=20)
    assert (strings[-1] == len(strings) - 1).all()


def test_ids_beyond_the_tokenizer_say_nothing():
    """A padded vocabulary has rows that no text stands for: they leave the state alone."""
    table = stops.table(("abab",), (), PIECES, vocab=30)
    states = np.arange(len(table))
    np.testing.assert_array_equal(table[:, len(PIECES) :], np.repeat(states[:, None], 14, 1))


def test_ids_beyond_the_tokenizer_say_nothing_on_the_host_either():
    assert stops.Watch(("ab",), [b"a", b"b"]).feed([0, 7, 1]) == 2


def test_agrees_with_the_tokenizers_own_text():
    """On real token bytes: what decodes to a text with the stop string has stopped."""
    vocab = tiny.TOKENIZER.vocab_size
    table = stops.table(("Q:", "the "), (0,), tiny.TOKENIZER.token_bytes(), vocab)
    for text in ("Q", "A Q:", "aQ :", " the", "the cab the ", "naïve"):
        ids = tiny.TOKENIZER.encode(text)
        assert (run(table, ids) is not None) == ("Q:" in text or "the " in text), text


def test_bad_stops_are_refused():
    with pytest.raises(ValueError, match=r"''.*empty string.*drop it"):
        stops.table(("a", ""), (), PIECES, 20)
    with pytest.raises(ValueError, match=r"\[25\].*vocabulary of 20"):
        stops.table((), (3, 25), PIECES, 20)
