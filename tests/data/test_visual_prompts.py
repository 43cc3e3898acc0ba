"""Text with pictures in it: marks expanded, positions as published, rows that find their tokens."""

import jax
import numpy as np
import pytest
import tiny_tokenizers
import tiny_vl

from jaxrl.chat import templates
from jaxrl.data import sequences
from jaxrl.data import visual_prompts as prompts
from jaxrl.messages import Message

TOKENIZER = tiny_vl.TOKENIZER
SEEN = tiny_vl.visuals()
SPECIALS = (prompts.START, prompts.END, prompts.IMAGE_PAD, prompts.VIDEO_PAD)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
)


def test_an_image_is_a_block_and_a_clip_a_block_every_two_frames_behind_its_time():
    text = f"a{prompts.IMAGE}b{prompts.VIDEO}c"
    got = prompts.expand(text, [SEEN["wide"], SEEN["clip"]._replace(times=(0.25, 11.0))])
    block = "<|vision_start|>" + "<|video_pad|>" * 4 + "<|vision_end|>"
    image = "<|vision_start|>" + "<|image_pad|>" * 6 + "<|vision_end|>"
    assert got == f"a{image}b<0.2 seconds>{block}<11.0 seconds>{block}c"


def test_positions_follow_the_rule():
    """By hand: 2 of text, a block of 2 × 3, 1 of text, a block of 3 × 1, 1 of text."""
    visual = np.array([0, 0, *[1] * 6, 0, 1, 1, 1, 0], bool)
    want = [
        [0, 1, 2, 2, 2, 2, 2, 2, 5, 6, 6, 6, 9],
        [0, 1, 2, 2, 2, 3, 3, 3, 5, 6, 7, 8, 9],
        [0, 1, 2, 3, 4, 2, 3, 4, 5, 6, 6, 6, 9],
    ]
    np.testing.assert_array_equal(prompts.positions(visual, [(2, 3), (3, 1)]), want)
    np.testing.assert_array_equal(prompts.positions(np.zeros(3, bool), []), [[0, 1, 2]] * 3)


def test_every_pad_finds_its_own_patches():
    """In order, whichever row of patches the frame went to; text finds nothing."""
    names = tuple(tiny_vl.ROWS)
    batch = tiny_vl.batch(names)
    for b, row in enumerate(tiny_vl.rendered(names)):
        flat = batch.patches.pixels[b].reshape(-1, 4 * batch.patches.pixels.shape[-1])
        valid = batch.valid[b]
        assert valid[: len(row)].all() and valid.sum() == len(row)
        np.testing.assert_array_equal(batch.tokens[b, valid], row.tokens)
        np.testing.assert_array_equal(batch.position[b][:, valid], row.position)
        np.testing.assert_array_equal(batch.visual[b, valid] >= 0, row.visual)
        assert (batch.visual[b, ~valid] == -1).all()
        index = batch.visual[b, valid][row.visual]
        want = [v.patches.reshape(-1, flat.shape[1]) for v in row.visuals]
        if want:
            np.testing.assert_array_equal(flat[index], np.concatenate(want))
    assert {len(x) for x in jax.tree.leaves(batch)} == {len(names)}  # so it splits by its rows
    pads = np.isin(batch.tokens, (tiny_vl.MODEL.image_id, tiny_vl.MODEL.video_id))
    np.testing.assert_array_equal(pads, batch.visual >= 0)


def test_text_has_room_for_pictures_if_its_batch_has_or_asks():
    """One shape for all batches of a training run, of ids or of rendered rows."""
    (row,), ids = tiny_vl.rendered(["image"]), [5, 6, 7]
    how = {"pad_id": 0, "width": 64, "tower": tiny_vl.TOWER}
    mixed = sequences.pad([ids, row], count=3, **how, patches=(2, 32))
    asked = sequences.pad([ids], count=3, **how, patches=(2, 32))
    assert jax.tree.map(np.shape, mixed) == jax.tree.map(np.shape, asked)
    assert sequences.pad([ids], **how)[2:] == (None, None, None)
    for part in (mixed, asked):
        assert part.tokens[0, :3].tolist() == ids and part.valid.sum(1)[0] == 3
        np.testing.assert_array_equal(part.position[0], np.arange(64)[None].repeat(3, 0))
        assert (part.visual[[0, 2]] == -1).all() and (part.patches.frame[[0, 2]] == -1).all()
        assert part.valid[2].sum() == 1  # a row that is none computes no NaN


def test_a_conversation_is_rendered_by_its_template():
    """A message holds the mark as text; the template need know nothing of pictures."""
    tokenizer = tiny_tokenizers.build(
        specials=("<end>", "<|im_start|>", "<|im_end|>", *SPECIALS), template=CHATML
    )
    messages = [Message("user", f"{prompts.IMAGE}What is this?"), Message("assistant", "A cat.")]
    text = templates.render_text(tokenizer, messages, add_generation_prompt=False)
    row = prompts.render(tokenizer, text, [SEEN["wide"]])
    whole = "".join(tokenizer.pieces(row.tokens))
    assert whole == text.replace(prompts.IMAGE_PAD, prompts.IMAGE_PAD * 6)
    assert row.visual.sum() == 6


@pytest.mark.parametrize(
    "text, seen",
    [
        ("no mark", ["wide"]),
        (prompts.IMAGE, []),
        (prompts.VIDEO, ["wide"]),
        (prompts.IMAGE + prompts.VIDEO, ["clip", "wide"]),
        (prompts.IMAGE + "a user wrote <|image_pad|>", ["wide"]),  # it would move the pictures
    ],
)
def test_marks_that_do_not_fit_the_visuals_are_refused(text, seen):
    with pytest.raises(ValueError, match=r"the text marks .*put mark\(visual\) into the text"):
        prompts.render(TOKENIZER, text, [SEEN[name] for name in seen])


def test_other_misuse_is_named():
    plain = tiny_tokenizers.build()
    with pytest.raises(ValueError, match=r"makes 0 tokens of 6 × .*use that of a Qwen3-VL"):
        prompts.render(plain, prompts.IMAGE, [SEEN["wide"]])
    row = prompts.render(plain, "text alone needs no marks")
    assert not row.visual.any()
    with pytest.raises(ValueError, match="more than width=3: raise it"):
        sequences.pad([row], pad_id=0, width=3)
    with pytest.raises(ValueError, match="no tower to see them: give tower"):
        sequences.pad(tiny_vl.rendered(["image"]), pad_id=0)
