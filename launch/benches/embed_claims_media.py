"""Text, pictures and clips in one space: a small Qwen3-VL-Embedding, from nothing, on real media.

Three sources in one run, each batch of one, by GVE's symmetric loss (arXiv:2510.27571): pictures
and their captions; segments of clips, each with a frame that is not among those read of it; and
segments with what their clip shows, told from what the others show, a classification as of
Qwen3-VL-Embedding (arXiv:2601.04720). What is to be found, pictures and segments, was in no batch.
"""

import itertools

import jax
import numpy as np

from configs import base_embedders
from jaxrl.data import embedding_prompts, visual_prompts
from jaxrl.data.contents import Content
from jaxrl.models import checkpoints, decoder, fresh, qwen3_vl, spec, vision
from jaxrl.recipes import embed
from jaxrl.retrieval import encoders
from launch.benches import media_data, several, tables
from launch.benches.embed_claims_e2rank import write

SPECIALS = ("<|endoftext|>", *fresh.SPECIALS, visual_prompts.START, visual_prompts.END)
SPECIALS += (visual_prompts.IMAGE_PAD, visual_prompts.VIDEO_PAD)
VOCABULARY = 1024
TEST = 100  # pictures that are to be found
VARIANTS = {"picture": 5, "segment": 3}  # beside the plain one, to learn from
DEPTH = 10
STEPS = 320


class Media:
    """What a run learns from and is asked, in files of a folder; texts and paths as Contents."""

    def __init__(self, folder, stamps, clips):
        order = np.random.default_rng(0).permutation(len(stamps))
        stamps = [stamps[n] for n in order]
        copies = media_data.write_pictures(
            [path for _, path in stamps], folder / "pictures", VARIANTS["picture"]
        )
        pairs = [(text, paths) for (text, _), paths in zip(stamps, copies, strict=True)]
        self.learned, self.pairs = pairs[TEST:], pairs[:TEST]
        self.segments, segments = [], []  # to be found, to learn from
        for number, (text, path) in enumerate(clips):
            made = media_data.write_segments(path, folder / f"clip-{number}", VARIANTS["segment"])
            segments += [(text, segment) for segment in made[0]]
            self.segments += [(text, segment) for segment in made[1]]
        self.shown = [text for text, _ in clips]
        self.texts = [text for text, _ in self.learned] + self.shown
        rng = np.random.default_rng(1)
        rows = [*_captions(self.learned), *_frames(segments, rng), *_shown(segments, self.shown)]
        write(folder / "media.jsonl", rows)


def run(folder, seeds, drawn):
    """Yields a row for each direction: held-out pictures and segments, beside chance."""
    folder = folder / "media"
    folder.mkdir()
    media = Media(folder, media_data.stamps(), media_data.clips())
    found = []
    for seed in range(seeds):
        with several.quiet(folder / "log.txt"):
            found.append(measured(trained(folder, media, seed), media))
    yield from rows(found, drawn)


def rows(found, drawn):
    """Rows of figures of several seeds, [{(direction, unit): (figure, chance)}]."""
    drawn["media"] = {}
    for (direction, unit), (_, chance) in found[0].items():
        mean, half = several.interval([one[direction, unit][0] for one in found])
        if not direction.endswith("seen"):
            drawn["media"][f"{direction}, {unit}"] = mean, half
        case = f"media: {direction} (± {half:.3f})"
        yield tables.Row(case, float(mean), unit, peer="chance", peer_value=float(chance))


def trained(folder, media, seed, steps=STEPS):
    """The directory of an embedder that has learned from all sources."""
    start, where = folder / f"start-{seed}", folder / f"run-{seed}"
    write_model(start, media.texts, seed)
    c = base_embedders.embed()
    c.seed, c.steps, c.checkpoint.every = seed, steps, 0
    c.model.checkpoint = str(start)
    c.data.update(path=str(folder / "media.jsonl"), batch=32, documents=2)
    c.data.update(query_length=320, document_length=96)
    c.loss.update(name="symmetric_info_nce", temperature=0.07)
    c.optimizer.update(lr=2e-3, warmup=20, schedule="cosine", weight_decay=0.05)
    embed.run(c, where)
    return where / embed.MODEL


def write_model(path, texts, seed):
    """A random Qwen3-VL of 0.8 million parameters, and a vocabulary fitted to the texts.

    A visual token is one patch of 8 × 8 pixels: a picture has 64, a segment 256.
    """
    template = embedding_prompts.TEMPLATES["qwen3_vl"].render
    tokenizer = fresh.fit([template(text, None) for text in texts], VOCABULARY, SPECIALS)
    ids = {name: SPECIALS.index(token) for name, token in _marks()}
    model = qwen3_vl.Config(
        text=decoder.Config(
            V=tokenizer.vocab_size, D=128, L=2, H=4, K=2, N=32, F=256, rope_theta=1e4, qk_norm=True
        ),
        vision=vision.Config(D=128, L=2, H=4, F=256, out=128, taps=(0,), side=16, patch=8, merge=1),
        mrope=(6, 5, 5),
        **ids,
    )
    params = spec.init(qwen3_vl.specs(model), jax.random.key(seed))
    checkpoints.save(params, model, tokenizer, path)


def _marks():
    names = ("start_id", "end_id", "image_id", "video_id")
    return zip(names, SPECIALS[-4:], strict=True)


def measured(path, media):
    """{(direction, unit): (figure, that of chance)} of an embedder on what it has not seen, and of
    finding a picture among some that it has."""
    encoder = encoders.open_encoder(f"{path}#limit=320")
    embedded = lambda contents: encoder.documents(contents)
    found = {}
    for name, pairs in (("", media.pairs), (", seen", media.learned[:TEST])):
        text_ND = embedded([Content(text) for text, _ in pairs])
        picture_ND = embedded([Content(images=paths[:1]) for _, paths in pairs])
        right = np.arange(len(pairs))
        found |= _ranks(f"text → picture{name}", text_ND @ picture_ND.T, right)
        found |= _ranks(f"picture → text{name}", picture_ND @ text_ND.T, right)
    segment_SD = embedded([Content(videos=(s.video,)) for _, s in media.segments])
    frames = [Content(images=(p,)) for _, s in media.segments for p in s.pictures]
    right = np.repeat(np.arange(len(segment_SD)), len(media_data.SHOWN))
    found |= _ranks("picture → clip", embedded(frames) @ segment_SD.T, right, depth=None)
    text_KD = embedded([Content(text) for text in media.shown])
    which = np.array([media.shown.index(text) for text, _ in media.segments])
    found |= _ranks("clip → text", segment_SD @ text_KD.T, which, depth=None)
    precision = r_precision(text_KD @ segment_SD.T, which)
    share = np.bincount(which) / len(which)
    return found | {("text → clip", "R-precision"): (precision, share.mean())}


def _ranks(direction, scores_QC, right, depth=DEPTH):
    """hit@1 and, with a depth, recall there, of queries with one right content each."""
    better = (scores_QC > scores_QC[np.arange(len(right)), right][:, None]).sum(1)
    C = scores_QC.shape[1]
    found = {(direction, "hit@1"): ((better < 1).mean(), 1 / C)}
    if depth:
        found[direction, f"recall@{depth}"] = (better < depth).mean(), depth / C
    return found


def r_precision(scores_QC, which):
    """The mean share of a query's own contents among the first, as many as it has.

    which: the query of each content.
    """
    own = lambda q, n: (which[np.argsort(-scores_QC[q])[:n]] == q).mean()
    return float(np.mean([own(q, (which == q).sum()) for q in range(len(scores_QC))]))


def _captions(pairs):
    for text, paths in pairs:
        for path in paths:
            yield {"source": "pictures", "query": {"image": path}, "positives": [text]}


def _frames(segments, rng):
    """Segments with frames of their own, and of another of the same clip."""
    for _, own in itertools.groupby(segments, lambda x: x[0]):
        own = [segment for _, segment in own]
        for n, segment in enumerate(own):
            positives = [{"image": path} for path in segment.pictures]
            other = own[(n + rng.integers(1, len(own))) % len(own)]
            negatives = [{"image": rng.choice(other.pictures)}]
            row = {"source": "segments", "query": {"video": segment.video}}
            yield row | {"positives": positives, "negatives": negatives}


def _shown(segments, texts):
    for text, segment in segments:
        row = {"source": "clips", "kind": "classification", "query": {"video": segment.video}}
        yield row | {"positives": [text], "negatives": [x for x in texts if x != text]}
