"""Text made fit for a model's eyes."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrl.chat import text

ANY = st.text(st.characters(codec=None), max_size=60) | st.sampled_from(
    ["</PATH_A>", "<|im_end|>", "<think>", "&lt;", '"}]}', "\ud800", "\U000e0041", "\u202e", "\x00"]
)


def test_the_middle_of_a_long_text_is_left_out():
    assert text.cut("abcdef", 3) == "ab[… 3 characters left out …]f"
    assert text.cut("abc", 3) == "abc"


def test_no_special_token_stays_written_out():
    specials = ["<|end|>", "<|end|>x", "</s>"]
    assert text.harmless("a<|end|>x</s>", specials) == "a< |end|>x< /s>"
    assert text.harmless("a<|end", specials) == "a<|end"
    assert text.harmless("same", []) == "same"


def test_thoughts_are_split_from_the_answer_once():
    """A think tag that is left in the answer is the model's fault, and a judge should see it."""
    assert text.split("a</think>b</think>c") == ("a", "b</think>c")
    assert text.split("plain") == ("", "plain")


@given(ANY, ANY, ANY)
@settings(max_examples=100, deadline=None)
def test_no_text_closes_its_fence(a, b, c):
    """The one pair of tags is ours, whatever stands between: also for an HTTP client to encode."""
    fenced = text.fenced("PATH_A", a + b + c)
    assert re.findall("[<>][^<>]*", fenced) == ["<PATH_A", ">\n" + fenced[9:-9], "</PATH_A", ">"]
    fenced.encode()
    assert not re.search("[\x00\u202e\U000e0041]", fenced)


def test_escaping_can_be_undone():
    """A judge that is shown code must be able to tell < from &lt;."""
    assert text.fenced("T", "a < b &lt; c\r\nd") == "<T>\na &lt; b &amp;lt; c\nd\n</T>"
