"""Clips: which frames, when and at what size, by the published rules; bad files refused."""

import io
import wave

import numpy as np
import pytest
from damage import damaged
from tiny_media import clip

from jaxrl.data import images, videos
from jaxrl.data.media import MediaError
from jaxrl.data.videos import VideoConfig

C = VideoConfig(min_pixels=32 * 32, max_pixels=64 * 64, total_pixels=8 * 64 * 64)


@pytest.mark.parametrize(
    "total, fps, want",
    [
        (100, 10.0, 10),  # a frame a second
        (25, 25.0, 4),  # but four at least
        (3, 25.0, 2),  # of those there are, an even number
        (1, 25.0, 1),
        (10_000, 10.0, 64),
        (115, 10.0, 10),  # 11.5 s
    ],
)
def test_frames_are_spread_over_the_whole_clip(total, fps, want):
    got = videos.sample(total, fps, VideoConfig())
    assert len(got) == want and got[0] == 0 and (np.diff(got) > 0).all()
    if want > 1:
        assert got[-1] == total - 1 and np.diff(got).max() - np.diff(got).min() <= 1


def test_frames_share_the_budget():
    """The published figures: 768 tokens a frame; 7680 of two frames each; a floor of 1.05 · 128."""
    c = VideoConfig()
    assert videos.frame_pixels(4, c) == 768 * 1024
    assert videos.frame_pixels(64, c) == 7680 * 1024 / 64 * 2
    assert videos.frame_pixels(1000, c) == int(1.05 * 128 * 1024)


def test_times_are_means_of_pairs():
    assert videos.timestamps([0, 10, 20, 30], 10.0, 2) == (0.5, 2.5)
    assert videos.timestamps([0, 10, 25], 10.0, 2) == (0.5, 2.5)  # the last frame stands twice


def test_the_frames_asked_for_are_the_frames_read(tmp_path):
    """By their shades; from a path and from bytes; 45 frames of 10 a second are 4.5 s."""
    data = clip(45)
    (tmp_path / "clip.mkv").write_bytes(data)
    frames, indices, fps = videos.decode(data, C)
    assert fps == 10.0 and indices.tolist() == [0, 15, 29, 44]
    np.testing.assert_allclose(frames.mean((1, 2, 3)), 2 * indices, atol=2.5)
    got = videos.read(tmp_path / "clip.mkv", C)
    assert got.grid == (2, 4, 4) and got.times == pytest.approx((0.75, 3.65))
    np.testing.assert_array_equal(got.patches, videos.read(data, C).patches)


def test_large_frames_are_reduced_as_pictures_are():
    frames, _, _ = videos.decode(clip(6, size=(320, 160), codec="mpeg4"), C)
    assert frames.shape[1:] == (32, 64, 3)  # 2 : 1 within 64 · 64 pixels


def test_frames_from_memory_are_all_taken():
    """An odd count repeats the last; pictures of other sizes are brought to the first's."""
    shades = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 64, 64, 3), np.uint8)
    got = videos.read(shades, C, fps=2.0)
    assert got.grid == (2, 4, 4) and got.times == (0.25, 1.0)
    assert got.patches[16:].max() == got.patches[16:].min() == 2
    mixed = [shades[0], shades[1], np.full((32, 96, 3), 2, np.uint8)]
    np.testing.assert_array_equal(videos.read(mixed, C, fps=2.0).patches, got.patches)
    picture = images.read(shades[1], images.ImageConfig())
    np.testing.assert_array_equal(videos.read(shades[1:2], C).patches, picture.patches)


def test_a_clip_cut_short_is_read_up_to_there():
    """Half a download: sampled over what decodes, first to last."""
    data = clip(60)
    got = videos.read(data[: len(data) * 3 // 4], C)
    assert got.grid[0] == 2 and 2.0 < got.times[-1] < 4.0


def sound():
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1), out.setsampwidth(2), out.setframerate(8000)
        out.writeframes(b"\0" * 1600)
    return file.getvalue()


def unknown_codec():
    return clip(6, format="avi", codec="mpeg4").replace(b"FMP4", b"ZZZZ")


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "is empty: fetch it again"),
        (b"no clip at all" * 100, "cannot be read as a clip .*: convert it to H.264"),
        (sound(), r"no video that can be decoded \(streams: \['audio'\]\)"),
        (unknown_codec(), r"no video that can be decoded \(streams: \['video'\]\)"),
        (clip(0, format="avi"), "has no frames"),
        (
            clip(30, format="mp4", codec="mpeg4")[:-200],
            "cannot be read as a clip",
        ),  # its index is at the end
        (clip(2, size=(6464, 32)), "sides of at most 200 to 1"),
    ],
)
def test_bad_files_are_named(tmp_path, data, message):
    """One kind of error, with the file, the reason and the way out."""
    (tmp_path / "bad.mkv").write_bytes(data)
    with pytest.raises(MediaError, match=rf"bad\.mkv .*{message}|bad\.mkv {message}"):
        videos.read(tmp_path / "bad.mkv", C)


@pytest.mark.parametrize(
    "limits, message",
    [
        ({"largest_file": 100}, "more than largest_file=100"),
        ({"largest_source": 64 * 63}, "64 × 64 pixels, more than largest_source=4032"),
        ({"longest": 11}, "more than longest=11 frames: cut it"),
        ({"seconds": 0.0}, "longer than seconds=0.0 to decode"),
    ],
)
def test_limits_hold(limits, message):
    """Of bytes, pixels, frames and time: a bad file must not stop a run."""
    with pytest.raises(MediaError, match=f"the given bytes .*{message}"):
        videos.read(clip(12), VideoConfig(**limits))


def test_other_bad_input_is_named(tmp_path):
    with pytest.raises(MediaError, match=r"no file at .*nowhere\.mp4"):
        videos.read(tmp_path / "nowhere.mp4", C)
    with pytest.raises(MediaError, match="list of 0 frames: give 1 to max_frames=64"):
        videos.read([], C)
    with pytest.raises(MediaError, match=r"give \[frames, h, w, 3\] uint8"):
        videos.read(np.zeros((4, 8, 8), np.uint8), C)
    with pytest.raises(ValueError, match=r"video\.fps=0"):
        VideoConfig(fps=0)


@pytest.mark.parametrize(
    "format, codec",
    [("matroska", "ffv1"), ("mp4", "mpeg4"), ("avi", "mpeg4"), ("mpegts", "mpeg2video")],
)
def test_damaged_bytes_are_read_or_named_and_nothing_else(format, codec):
    """Whatever FFmpeg makes of them, in little time."""
    rng, data, seen = np.random.default_rng(0), clip(6, format=format, codec=codec), set()
    for _ in range(20):
        try:
            seen.add(videos.read(damaged(data, rng), VideoConfig(seconds=10)).grid[0] <= 3)
        except MediaError:
            seen.add("named")
    assert seen <= {True, "named"} and "named" in seen
