"""Contents as rows that embedders and rerankers read: texts as ids, what has pictures as Rendered.

    read = render(tokenizer, c.template, contents, c.longest, instruction, tower=c.tower)
    batch = sequences.pad(read.rows, pad_id=tokenizer.pad_id, tower=c.tower)

Under qwen3_vl a content is its clips, then its pictures, then its text (arXiv:2601.04720, official
code). Whoever reads text alone needs neither tower nor Pillow and PyAV.
"""

from typing import NamedTuple

from jaxrl.data import embedding_prompts, reranking_prompts, visual_prompts
from jaxrl.data.contents import Content
from jaxrl.data.media import MediaError

SEEING = "qwen3_vl"  # the template that has a place for pictures
PADS = (visual_prompts.IMAGE_PAD, visual_prompts.VIDEO_PAD)
BAD = ("refuse", "skip")


class Read(NamedTuple):
    """Rows of contents, in their order."""

    rows: list  # ids or visual_prompts.Rendered; None = bad
    cut: list[int]  # the numbers of those whose text was too long
    bad: dict[int, str]  # number -> why its pictures cannot be read


def render(
    tokenizer, name, contents, limit, instruction=None, *, tower=None, media=None, bad="refuse"
):
    """Read of contents: texts or Contents. name: a key of embedding_prompts.TEMPLATES.

    limit: tokens at most; text is cut, a picture never. tower: vision.Config of a model that sees,
    None = pictures are refused. media: pictures.Media, None = pictures.budgets(tower). bad: "skip"
    counts contents whose pictures cannot be read or do not fit; "refuse" raises a MediaError.
    """
    template = embedding_prompts.TEMPLATES[name]
    texts = lambda items: embedding_prompts.encode(
        tokenizer, name, [text for (text,) in items], limit, instruction
    )
    tail = embedding_prompts.tail(tokenizer, name)
    seen = lambda text, visuals: visual_prompts.render(
        tokenizer, template.render(text, instruction), visuals, limit=limit, tail=tail
    )
    items = [(content,) for content in contents]
    return _read(items, texts, seen, name, tower, media, bad)


def render_pairs(
    tokenizer, name, pairs, limit, instruction=None, *, tower=None, media=None, bad="refuse"
):
    """Read of pairs (query, document) of contents, as a reranker wants them.

    name: a key of reranking_prompts.TEMPLATES, of which it takes the instruction if None is given.
    The rest as of `render`.
    """
    template = reranking_prompts.TEMPLATES[name]
    texts = lambda items: reranking_prompts.encode(tokenizer, name, items, limit, instruction)
    how = {"tail": len(tokenizer.encode(template.tail)), "kept": tokenizer.special_ids()}

    def seen(query, document, visuals):
        text = template.render(query, document, instruction or template.instruction)
        return visual_prompts.render(tokenizer, text, visuals, limit=limit, **how)

    return _read(pairs, texts, seen, name, tower, media, bad)


def content(value):
    """A text or a Content -> Content."""
    return Content(value) if isinstance(value, str) else value


def sees(value):
    """Whether a text or a Content has pictures or clips."""
    return not isinstance(value, str) and bool(value.images or value.videos)


def _read(items, texts, seen, name, tower, media, bad):
    """Read of tuples of contents: text alone by texts(tuples), others by seen(*texts, visuals)."""
    if bad not in BAD:
        raise ValueError(f"bad={bad!r}: give one of {BAD}")
    items = [tuple(map(content, item)) for item in items]
    rows, faults = [None] * len(items), {}
    plain = [i for i, item in enumerate(items) if not any(map(sees, item))]
    found = texts([tuple(x.text for x in items[i]) for i in plain])
    for i, ids in zip(plain, found.ids, strict=True):
        rows[i] = ids
    cut = [plain[i] for i in found.cut]
    others = [i for i, row in enumerate(rows) if row is None]
    look = _reader(name, tower, media) if others else None
    for i in others:
        try:
            rows[i] = _seen(items[i], seen, look)
        except MediaError as error:
            if bad == "refuse":
                raise
            faults[i] = str(error)
        else:
            cut += [i] if rows[i].cut else []
    return Read(rows, sorted(cut), faults)


def _reader(name, tower, media):
    """A function: a Content -> its Visuals."""
    if tower is None:
        raise ValueError(
            "a content has pictures, and the model reads text alone: use a checkpoint of "
            "Qwen3-VL-Embedding or Qwen3-VL-Reranker, or leave them out"
        )
    if name != SEEING:
        raise ValueError(
            f"a content has pictures, and template={name!r} has no place for them: use {SEEING!r}"
        )
    from jaxrl.data import pictures  # which needs Pillow and PyAV

    media = pictures.budgets(tower) if media is None else media
    return lambda one: pictures.read(one, media)


def _seen(item, seen, look):
    """The Rendered of contents that have pictures among them."""
    texts, visuals = [], []
    for one in item:
        if (pad := next((pad for pad in PADS if pad in one.text), None)) is not None:
            raise MediaError(
                f"the text {one.text[:40]!r} beside {(*one.images, *one.videos)} has {pad} in it, "
                "which stands for a part of a picture: remove it"
            )
        found = look(one)
        texts.append("".join(map(visual_prompts.mark, found)) + one.text)
        visuals += found
    return seen(*texts, visuals)
