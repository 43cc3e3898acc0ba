"""Contents to rows: the report's order, limits that cut text and no picture, bad files told."""

import dataclasses

import pytest
import tiny_media
import tiny_vl

from jaxrl.data import (
    embedding_prompts,
    embedding_sequences,
    images,
    pictures,
    reranking_prompts,
    videos,
)
from jaxrl.data import visual_prompts as prompts
from jaxrl.data.contents import Content
from jaxrl.data.media import MediaError

TOKENIZER, MEDIA = tiny_media.CHAT, tiny_media.MEDIA
SEES = {"tower": tiny_vl.TOWER, "media": MEDIA}
IMAGE = "<|vision_start|>" + "<|image_pad|>" * 6 + "<|vision_end|>"
HEAD = "<|im_start|>system\nFind it.<|im_end|>\n<|im_start|>user\n"
TAIL = "<|im_end|>\n<|im_start|>assistant\n<|endoftext|>"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return tiny_media.files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def both(files):
    """A clip, two pictures and a text."""
    return Content("ab he", (files["one.png"], files["two.png"]), (files["clip.mkv"],))


def render(contents, limit=500, **how):
    name = "qwen3_vl"
    return embedding_sequences.render(TOKENIZER, name, contents, limit, "Find it", **SEES | how)


def spelt(row):
    """A row as text, special tokens spelt out."""
    return "".join(TOKENIZER.pieces(getattr(row, "tokens", row)))


def clip(files):
    """The clip as it stands in a prompt."""
    return prompts.expand(prompts.VIDEO, [videos.read(files["clip.mkv"], MEDIA.video)])


def test_clips_then_pictures_then_text_byte_for_byte(files, both):
    """Texts beside them are rendered as without a tower; NULL stands for nothing at all."""
    read = render(["he", both, Content("", (files["one.png"],)), Content("ab")])
    wanted = ["he", clip(files) + IMAGE * 2 + "ab he", IMAGE, "ab"]
    assert [spelt(row) for row in read.rows] == [HEAD + text + TAIL for text in wanted]
    assert (read.cut, read.bad) == ([], {})
    texts = embedding_prompts.encode(TOKENIZER, "qwen3_vl", ["he", "ab"], 500, "Find it")
    assert [read.rows[0], read.rows[3]] == texts.ids
    assert [v.times is None for v in read.rows[1].visuals] == [False, True, True]
    assert HEAD + "NULL" + TAIL == spelt(render([Content()]).rows[0])


def test_pairs_are_query_then_document_each_with_its_own(files, both):
    said = reranking_prompts.TEMPLATES["qwen3_vl"].render("Q", "D", "Judge")
    pair = Content("Q", (files["one.png"],)), dataclasses.replace(both, text="D", images=())
    read = embedding_sequences.render_pairs(
        TOKENIZER, "qwen3_vl", [("Q", "D"), pair], 500, "Judge", **SEES
    )
    assert spelt(read.rows[0]) == said
    seen = said.replace(":Q", f":{IMAGE}Q").replace(":D", f":{clip(files)}D")
    assert spelt(read.rows[1]) == seen


def test_a_limit_takes_text_from_the_end_and_never_of_a_picture(files, both):
    """Half a block would move all that follows it: each pad must find its own patches."""
    whole = render([both]).rows[0]
    text = len(TOKENIZER.encode("ab he" + TAIL)) - 1  # all but the token that is read
    for less in (1, text, text + 1, text + 9):  # then it takes of the prompt before the pictures
        read = render([both], len(whole) - less)
        row = read.rows[0]
        assert (len(row), read.cut) == (len(whole) - less, [0])
        assert clip(files) + IMAGE * 2 in spelt(row) and spelt(row).endswith("<|endoftext|>")
        assert row.position.shape == (3, len(row)) and row.visual.sum() == whole.visual.sum()
        assert spelt(row).startswith(HEAD) == (less <= text)
    with pytest.raises(MediaError, match=r"take 54 tokens.*limit=40: raise it, or lower image"):
        render([both], 40)


def test_a_pair_too_long_keeps_special_tokens_and_the_times_of_a_clip(files):
    """The released code would take times, too, which are ordinary tokens."""
    pair = "he" * 5, Content("ab" * 20, videos=(files["clip.mkv"],))
    how = (TOKENIZER, "qwen3_vl", [pair])
    whole = embedding_sequences.render_pairs(*how, 500, **SEES).rows[0]
    read = embedding_sequences.render_pairs(*how, len(whole) - 30, **SEES)
    assert len(read.rows[0]) == len(whole) - 30 and read.cut == [0]
    shown = spelt(read.rows[0])
    assert clip(files) + TAIL.removesuffix("<|endoftext|>") in shown
    assert shown.count("<|im_start|>") == 3 and "<Document>" not in shown


@pytest.mark.parametrize(
    "key, name, told",
    [
        ("images", "broken.png", "cannot be read as a picture"),
        ("images", "gone.png", "no file at"),
        ("videos", "empty.mkv", "is empty"),
        ("videos", "odd.mkv", "cannot be read as a clip"),
    ],
)
def test_bad_files_are_named_or_skipped(files, key, name, told):
    path = files["one.png"].replace("one.png", name)
    contents = ["he", Content("he", **{key: (path,)}), Content("", (files["two.png"],))]
    with pytest.raises(MediaError, match=f"{name}.*{told}|{told}.*{name}"):
        render(contents)
    read = render(contents, bad="skip")
    assert list(read.bad) == [1] and name in read.bad[1] and read.rows[1] is None
    assert len(read.rows[0]) and len(read.rows[2])


def test_a_clip_that_is_too_long_or_large_is_skipped(files):
    """By what its container says, before frames are decoded."""
    for changes, told in (({"longest": 39}, "more than longest=39"), ({"largest_file": 99}, "99")):
        video = dataclasses.replace(MEDIA.video, **changes)
        media = dataclasses.replace(MEDIA, video=video)
        read = render([Content(videos=(files["clip.mkv"],))], media=media, bad="skip")
        assert told in read.bad[0]


def test_what_a_model_or_a_template_cannot_take_is_refused(files):
    """Not skipped: it is no fault of the file."""
    content = Content("he", (files["one.png"],))
    with pytest.raises(ValueError, match="the model reads text alone: use a checkpoint"):
        render([content], tower=None, bad="skip")
    with pytest.raises(ValueError, match="template='qwen3' has no place for them"):
        embedding_sequences.render(TOKENIZER, "qwen3", [content], 99, **SEES)
    with pytest.raises(MediaError, match=r"'he<\|image_pad\|>' beside .*has <\|image_pad\|> in it"):
        render([dataclasses.replace(content, text="he<|image_pad|>")])
    with pytest.raises(ValueError, match="bad='count'"):
        render([content], bad="count")


def test_budgets_are_in_visual_tokens_whatever_the_patch():
    """The published tower has the defaults; a patch of 4 pixels a sixteenth of them."""
    published = dataclasses.replace(tiny_vl.TOWER, patch=16)
    assert pictures.budgets(published) == pictures.Media(images.ImageConfig(), videos.VideoConfig())
    small = pictures.budgets(tiny_vl.TOWER)
    assert small.image.max_pixels == 1800 * 8 * 8 and small.video.total_pixels == 7680 * 8 * 8
