"""The multimodal part of embed_claims: its data on drawn media, its figures on known scores."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxrl.data import videos
from launch.benches import embed_claims_media, media_data

RATE = 25


def drawn(number, size):
    """A picture of its own colour, with a brighter left half."""
    array = np.full((size[1], size[0], 3), 20 + 5 * number, np.uint8)
    array[:, : size[0] // 2, number % 3] = 250
    return Image.fromarray(array)


def clip(path, frames=40):
    """A file whose frame n is drawn(n)."""
    images = [drawn(n, media_data.SIZE) for n in range(frames)]
    media_data.write_clip(images, RATE, path)
    return path


@pytest.fixture
def stamps(tmp_path):
    """A folder as Tux Paint's: two captions alike, a symbol, a drawing and a silent picture."""
    folder = tmp_path / "stamps"
    texts = {
        "animals/cat.png": "A cat. It sleeps.\nfr.utf8=Un chat.",
        "animals/cat2.png": "A cat. It is awake.",
        "food/plum.png": "A plum.",
        "symbols/a.png": "The letter A.",
    }
    for number, (name, text) in enumerate(texts.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn(number, (30, 20)).save(path)
        path.with_suffix(".txt").write_text(text, encoding="utf-8")
    drawn(5, (30, 20)).save(folder / "food" / "silent.png")
    (folder / "food" / "pear.svg").write_text("<svg/>", encoding="utf-8")
    (folder / "food" / "pear.txt").write_text("A pear.", encoding="utf-8")
    return folder


def test_a_caption_stands_once_and_is_the_first_sentence(stamps):
    found = media_data.stamps(stamps)
    assert found == [
        ("A cat.", stamps / "animals" / "cat.png"),
        ("A plum.", stamps / "food" / "plum.png"),
    ]


def test_stamps_that_are_missing_name_their_package(tmp_path):
    with pytest.raises(FileNotFoundError, match="apt-get install tuxpaint-stamps-default"):
        media_data.stamps(tmp_path / "none")


def test_what_is_transparent_becomes_white(tmp_path):
    """A stamp's edge once was black: what a transparent pixel has for a colour."""
    path = tmp_path / "clear.png"
    Image.new("RGBA", (40, 20), (0, 0, 0, 0)).save(path)
    ((plain, *_),) = media_data.write_pictures([path], tmp_path / "out", 0)
    found = np.asarray(Image.open(plain))
    assert found.shape == (media_data.SIDE, media_data.SIDE, 3) and (found == 255).all()


def test_variants_of_a_picture_are_mirrored_in_turn(tmp_path):
    path = tmp_path / "left.png"
    drawn(0, (64, 64)).save(path)
    (names,) = media_data.write_pictures([path], tmp_path / "out", 2)
    left = [np.asarray(Image.open(name), int)[32, 4, 0] > 200 for name in names]
    assert left == [True, False, True]


def test_segments_are_apart_and_their_pictures_are_frames_that_are_not_read(tmp_path):
    """Each frame has a grey of its own, by which it is known again."""
    train, test = media_data.write_segments(clip(tmp_path / "a.mp4"), tmp_path / "out", 1)
    assert (len(train), len(test)) == (8, 1)
    segment = test[0]
    read, indices, rate = videos.decode(segment.video, videos.VideoConfig(patch=8, merge=1))
    assert (tuple(indices), rate) == (media_data.READ, RATE)
    first = media_data.LENGTH * (media_data.TEST_EVERY - 1)
    grey = lambda array: np.asarray(array, float)[..., -8:, :].mean() - 20
    seen = [grey(frame) / 5 - first for frame in read]
    np.testing.assert_allclose(seen, media_data.READ, atol=0.4)
    shown = [grey(Image.open(path)) / 5 - first for path in segment.pictures]
    np.testing.assert_allclose(shown, media_data.SHOWN, atol=0.4)
    assert not set(media_data.READ) & set(media_data.SHOWN)


def test_nothing_that_is_to_be_found_is_learned_from(stamps, tmp_path, monkeypatch):
    monkeypatch.setattr(embed_claims_media, "TEST", 1)
    folder = tmp_path / "media"
    folder.mkdir()
    clips = [("grey", clip(tmp_path / "a.mp4")), ("greyer", clip(tmp_path / "b.mp4"))]
    media = embed_claims_media.Media(folder, media_data.stamps(stamps), clips)
    lines = (folder / "media.jsonl").read_text(encoding="utf-8")
    sources = [json.loads(line)["source"] for line in lines.splitlines()]
    assert {s: sources.count(s) for s in sources} == {"pictures": 6, "segments": 32, "clips": 32}
    (text, paths), *rest = media.pairs
    hidden = [text, *paths] + [x for _, s in media.segments for x in (s.video, *s.pictures)]
    assert rest == [] and not [x for x in hidden if f'"{x}"' in lines]
    assert all(f'"{x}"' in lines for _, paths in media.learned for x in paths)


def test_figures_of_known_scores():
    """Of three queries the first finds its own first, the second third, the last second."""
    scores = np.array([[0.9, 0.1, 0.2], [0.5, 0.1, 0.4], [0.1, 0.9, 0.3]])
    found = embed_claims_media._ranks("a", scores, np.arange(3), depth=2)
    assert found == {("a", "hit@1"): (1 / 3, 1 / 3), ("a", "recall@2"): (2 / 3, 2 / 3)}


def test_r_precision_of_known_scores():
    """The first query has both of its contents in front; of the other's two one is."""
    scores = np.array([[0.9, 0.1, 0.8, 0.2], [0.7, 0.9, 0.1, 0.2]])
    assert embed_claims_media.r_precision(scores, np.array([0, 1, 0, 1])) == 0.75


def test_rows_of_several_seeds_stand_beside_chance():
    """What was seen in training has a row, and no place in the figure of what was not."""
    one = lambda x: {("a → b", "hit@1"): (x, 0.1), ("a → b, seen", "hit@1"): (1.0, 0.1)}
    drawn = {}
    first, seen = embed_claims_media.rows([one(0.2), one(0.3), one(0.4)], drawn)
    assert (round(first.value, 6), first.peer, first.peer_value) == (0.3, "chance", 0.1)
    assert (seen.value, seen.unit) == (1.0, "hit@1")
    assert list(drawn["media"]) == ["a → b, hit@1"]
