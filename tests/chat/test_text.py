"""Text made fit for a model's eyes."""

from jaxrl.chat import text


def test_the_middle_of_a_long_text_is_left_out():
    assert text.cut("abcdef", 3) == "ab[… 3 characters left out …]f"
    assert text.cut("abc", 3) == "abc"


def test_no_special_token_stays_written_out():
    specials = ["<|end|>", "<|end|>x", "</s>"]
    assert text.harmless("a<|end|>x</s>", specials) == "a< |end|>x< /s>"
    assert text.harmless("a<|end", specials) == "a<|end"
    assert text.harmless("same", []) == "same"
