"""Text lines to examples: the assistant's tokens are in the loss, and no others."""

import json

import numpy as np
import pytest
import tiny_tokenizers

from jaxrl.chat import templates
from jaxrl.messages import Message
from jaxrl.training import examples

CHATML = (
    "{% if messages[0].role != 'system' %}"
    "{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHAT = tiny_tokenizers.build(("<|im_start|>", "<|im_end|>"), CHATML, eos="<|im_end|>")
PLAIN = tiny_tokenizers.build()
TALK = [
    Message("user", "What is the ab?"),
    Message("assistant", "the a and the b"),
    Message("tool", "b"),
    Message("user", "Sure?"),
    Message("assistant", "Yes."),
]


def conversation(messages):
    """A row as a file holds it."""
    return {"messages": [m._asdict() for m in messages]}


def learned(tokenizer, example):
    """The text in the loss, special tokens spelt out."""
    return "".join(tokenizer.pieces(example.tokens[example.mask]))


def write(path, rows):
    """JSON lines; a row that is a string is written as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_turn_of_the_assistant_is_in_the_loss_and_ends():
    """A mask that forgets the end token teaches the model never to stop."""
    made = examples.render(CHAT, conversation(TALK))
    assert learned(CHAT, made) == "the a and the b<|im_end|>Yes.<|im_end|>"


def test_a_conversation_equals_the_template_of_the_whole():
    """Turn by turn or at once: the same ids, but for the newline behind the last end token."""
    made = examples.render(CHAT, conversation(TALK))
    whole = templates.render(CHAT, TALK, add_generation_prompt=False)
    assert made.tokens.tolist() + CHAT.encode("\n") == whole


def test_the_context_of_a_turn_is_what_the_sampler_would_see():
    """Else the model is trained behind one header and sampled behind another."""
    made = examples.render(CHAT, conversation(TALK))
    start = int(np.argmax(made.mask))
    assert made.tokens[:start].tolist() == templates.render(CHAT, TALK[:1])


def test_what_follows_the_last_answer_is_left_out():
    asked_more = [*TALK, Message("user", "And now?")]
    made, more = (examples.render(CHAT, conversation(m)) for m in (TALK, asked_more))
    assert made.tokens.tolist() == more.tokens.tolist()


def test_prompt_and_response_are_verbatim():
    row = {"prompt": "Q: the ab?\nA:", "response": " ab"}
    for tokenizer, end in ((PLAIN, "<end>"), (CHAT, "<|im_end|>")):
        made = examples.render(tokenizer, row)
        assert "".join(tokenizer.pieces(made.tokens)) == "Q: the ab?\nA: ab" + end
        assert learned(tokenizer, made) == " ab" + end


def test_nothing_predicts_the_first_token():
    """Without a prompt, a mask over it would score it by the token in column −1."""
    made = examples.render(PLAIN, {"prompt": "", "response": "xyz"})
    assert learned(PLAIN, made) == "yz<end>"


def test_lines_that_cannot_be_learned_are_listed_with_their_numbers(tmp_path):
    """By line of the file, blank ones counted: the numbers an editor shows."""
    long, good = {"prompt": "x" * 20, "response": "y"}, {"prompt": "x", "response": "y"}
    path = write(tmp_path / "data.jsonl", [good, "", long, good, long])
    assert len(examples.load(path, PLAIN, 22)) == 4
    with pytest.raises(ValueError, match=r"2 lines .*data.max_length=21") as error:
        examples.load(path, PLAIN, 21)
    assert "line 3: 22 tokens" in str(error.value) and "line 5: 22 tokens" in str(error.value)


@pytest.mark.parametrize(
    "messages, fault",
    [
        ([*TALK, Message("assistant", "No.")], "line 1: message 5 is of the assistant"),
        ([TALK[1], *TALK], "line 1: message 0 is of the assistant"),
    ],
)
def test_turns_that_answer_nothing_are_refused(tmp_path, messages, fault):
    path = write(tmp_path / "data.jsonl", [conversation(messages)])
    with pytest.raises(ValueError, match=fault):
        examples.load(path, CHAT, 500)


def test_messages_need_a_template(tmp_path):
    path = write(tmp_path / "data.jsonl", [conversation(TALK)])
    with pytest.raises(ValueError, match="line 1: the chat template is of no known family"):
        examples.load(path, PLAIN, 500)
