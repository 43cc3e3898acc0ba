"""Pictures: sizes by the published rule, patches in the checkpoint's order, bad files refused."""

import io
import struct
import zlib

import numpy as np
import pytest
from damage import damaged
from PIL import Image

from jaxrl.data import images
from jaxrl.data.images import ImageConfig
from jaxrl.data.media import MediaError, cut

C = ImageConfig()
SMALL = ImageConfig(patch=2, min_pixels=16, max_pixels=16 * 64)


def noise(h, w, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), np.uint8)


def png(array, **how):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG", **how)
    return file.getvalue()


@pytest.mark.parametrize(
    "size, want",
    [
        ((480, 640), (480, 640)),
        ((481, 639), (480, 640)),  # the nearest multiples of 32
        ((16, 16), (64, 64)),  # 4 visual tokens at least
        ((10, 500), (32, 512)),  # a side never rounds to nothing
        ((3000, 4000), (1152, 1536)),  # 1800 at most, both sides down
        ((48, 80), (64, 64)),  # halves go to the even multiple, as Python's round does
    ],
)
def test_sizes_follow_the_rule(size, want):
    limits = {"factor": 32, "min_pixels": C.min_pixels, "max_pixels": C.max_pixels}
    assert images.smart_resize(*size, **limits) == want


def test_sizes_stay_within_the_budget_at_any_shape():
    """Of many sizes: multiples of 32, tokens between 4 and 1800, the shape kept where it can be."""
    rng = np.random.default_rng(0)
    for h, w in np.exp(rng.uniform(0, 9, (500, 2))).astype(int) + 1:
        if max(h, w) > 200 * min(h, w):
            continue
        got = images.smart_resize(h, w, factor=32, min_pixels=C.min_pixels, max_pixels=C.max_pixels)
        assert got[0] % 32 == got[1] % 32 == 0 and 4 <= got[0] * got[1] // 1024
        assert got[0] * got[1] <= C.max_pixels or min(got) == 32


def test_patches_lie_in_the_order_of_the_checkpoint():
    """Element by element: (T, block row, block column, row, column) of (channel, frame, y, x)."""
    frames = np.random.default_rng(0).integers(0, 256, (3, 8, 12, 3), np.uint8)
    got = cut(frames, SMALL)
    frames = np.concatenate([frames, frames[-1:]])  # an odd count repeats the last
    assert got.grid == (2, 4, 6) and (got.block, got.tokens) == ((2, 3), 6)
    want = [
        frames[2 * t + f, 4 * i + 2 * a + y, 4 * j + 2 * b + x, channel]
        for t in range(2)
        for i in range(2)
        for j in range(3)
        for a in range(2)
        for b in range(2)
        for channel in range(3)
        for f in range(2)
        for y in range(2)
        for x in range(2)
    ]
    np.testing.assert_array_equal(got.patches.ravel(), want)


def test_a_picture_is_its_own_second_frame(tmp_path):
    """From a path, bytes, a PIL image or an array: the same; at its own size, untouched."""
    array = noise(8, 12)
    (tmp_path / "a.png").write_bytes(png(array))
    sources = (tmp_path / "a.png", str(tmp_path / "a.png"), png(array), Image.fromarray(array))
    want = images.read(array, SMALL)
    assert want.grid == (1, 4, 6) and want.times is None
    np.testing.assert_array_equal(want.patches, cut(np.stack([array, array]), SMALL).patches)
    for source in sources:
        np.testing.assert_array_equal(images.read(source, SMALL).patches, want.patches)


def test_transparency_is_white_and_orientation_is_followed():
    """A stamp on nothing, by mask and by palette; a photo taken upright."""
    array = np.dstack([noise(8, 12), np.full((8, 12), 255, np.uint8)])
    array[:4, :, 3] = 0
    for mode in ("RGBA", "LA"):
        got = np.asarray(images.load(Image.fromarray(array).convert(mode), C))
        assert (got[:4] == 255).all() and not (got[4:] == 255).all()
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    palette.info["transparency"] = 1
    assert (np.asarray(images.load(palette, C)) == 255).all()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise
    turned = images.load(png(noise(8, 12), exif=exif), C)
    np.testing.assert_array_equal(np.asarray(turned), np.rot90(noise(8, 12), -1))


def test_grey_of_sixteen_bits_keeps_its_shades():
    """Clipped at 255, a scan or an X-ray becomes a white page."""
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    got = np.asarray(images.load(png(ramp), C))
    assert (np.diff(got[..., 0].ravel().astype(int)) >= 0).all() and got.min() == 0
    assert len(np.unique(got)) > 50


def bomb(width, height):
    """A PNG of a few bytes that says it is huge."""
    chunk = lambda kind, data: (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    )
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "is empty: fetch it again"),
        (b"no picture at all", "cannot be read as a picture"),
        (png(noise(64, 64))[:3000], "cannot be read as a picture .*truncated"),
        (bomb(60_000, 60_000), "too large to decode"),
        (bomb(9_000, 9_000), "9000 × 9000 pixels, more than largest_source=80000000"),
        (png(noise(2, 500)), "500 × 2 pixels: sides of at most 200 to 1"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "cannot be read as a picture"),
    ],
)
def test_bad_files_are_named(tmp_path, data, message):
    """One kind of error, with the file, the reason and the way out."""
    (tmp_path / "bad.png").write_bytes(data)
    with pytest.raises(MediaError, match=rf"bad\.png .*{message}|bad\.png {message}"):
        images.read(tmp_path / "bad.png", C)


def test_other_bad_input_is_named(tmp_path):
    with pytest.raises(MediaError, match=r"no file at .*nowhere\.png: check the path"):
        images.read(tmp_path / "nowhere.png", C)
    with pytest.raises(MediaError, match="more than largest_file=100"):
        images.read(png(noise(64, 64)), ImageConfig(largest_file=100))
    for array in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(MediaError, match=r"the given ndarray is .*: give"):
            images.read(array, C)
    with pytest.raises(ValueError, match="min_pixels=4096 and max_pixels=100"):
        ImageConfig(max_pixels=100)


def test_damaged_bytes_are_read_or_named_and_nothing_else():
    """Whatever a plugin of Pillow raises on them: a run of millions of files meets it all."""
    rng, refused = np.random.default_rng(0), 0
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"):
        file = io.BytesIO()
        Image.fromarray(noise(24, 32)).save(file, kind)
        for _ in range(25):
            try:
                images.read(damaged(file.getvalue(), rng), SMALL)
            except MediaError:
                refused += 1
    assert 20 < refused < 150
