"""Clips to patches: which frames, at what size, when; within limits on what a bad file may cost.

    visual = videos.read("clip.mp4", VideoConfig())

Read by PyAV: the extra `vision` (pip install "jaxrl[vision]"). Frames and sizes are those of the
Qwen3-VL scripts (arXiv:2601.04720): one frame a second, 4 to 64 of them, evenly spread; the frames
share a budget of pixels. Sound and rotation tags are left out. The file is decoded up to the last
frame wanted, in order: exact, where seeking by time is not in every container.
"""

import contextlib
import dataclasses
import io
import os
import time

import av
import numpy as np
from PIL import Image

from jaxrl.data import images
from jaxrl.data.media import MediaError, cut

FLOOR = 1.05  # of min_pixels: what a frame may have however many frames share the budget


@dataclasses.dataclass(frozen=True)
class VideoConfig:
    """Sizes of patches, the choice of frames, and limits. 32 × 32 pixels × 2 frames = a token."""

    patch: int = 16  # pixels
    merge: int = 2  # patches a side that become one visual token
    frames: int = 2  # in a patch, one after the other
    fps: float = 1.0  # frames read of a second
    min_frames: int = 4
    max_frames: int = 64
    min_pixels: int = 128 * 32 * 32  # of a frame; a smaller one is enlarged
    max_pixels: int = 768 * 32 * 32
    total_pixels: int = 7680 * 32 * 32  # of all frames, two counted as one
    largest_file: int = 2 * 2**30  # bytes; not given in the paper, our choice, as are the next
    largest_source: int = 3840 * 2160  # pixels of a frame in the file
    longest: int = 100_000  # frames of the file
    seconds: float = 120.0  # of decoding

    def __post_init__(self):
        images.check_sizes("video", self)
        if not (self.fps > 0 and 1 <= self.min_frames <= self.max_frames):
            raise ValueError(
                f"video.fps={self.fps}, min_frames={self.min_frames}, max_frames="
                f"{self.max_frames}: give an fps above 0 and 1 ≤ min_frames ≤ max_frames"
            )

    @property
    def factor(self):
        """Pixels of a visual token's side."""
        return self.patch * self.merge


def read(source, c, *, fps=None):
    """A path, the bytes of a file, or frames -> media.Visual with the time of each two frames.

    Frames: an array [F, h, w, 3] uint8 or a sequence of what images.load reads, all of which are
    taken; `fps` is the rate they were sampled at, c.fps if not given.
    """
    name = images.named(source)
    if isinstance(source, str | os.PathLike | bytes):
        frames, indices, fps = decode(source, c)
    else:
        frames = _given(source, c, name)
        indices, fps = np.arange(len(frames)), fps or c.fps
    return cut(frames, c, timestamps(indices, fps, c.frames))


def sample(total, fps, c):
    """The frames [n] to take of `total` at `fps`: about c.fps a second, evenly from first to last.

        n = ⌊min(max(total / fps · c.fps, min_frames), max_frames, total)⌋, made even
        round(linspace(0, total − 1, n))

    qwen_vl_utils' rule (arXiv:2601.04720). A clip of one frame has that one: our choice.
    """
    n = min(max(total / fps * c.fps, c.min_frames), c.max_frames, total)
    return np.linspace(0, total - 1, max(int(n) // 2 * 2, 1)).round().astype(np.int64)


def frame_pixels(n, c):
    """The most pixels a frame may have when n of them share the budget."""
    return max(min(c.max_pixels, c.total_pixels / n * c.frames), int(c.min_pixels * FLOOR))


def timestamps(indices, fps, per_patch):
    """Seconds of each T: the mean of its first and last frame's time, the last frame repeated."""
    times = np.asarray(indices, np.float64) / fps
    times = np.append(times, [times[-1]] * (-len(times) % per_patch)).reshape(-1, per_patch)
    return tuple(((times[:, 0] + times[:, -1]) / 2).tolist())


def decode(source, c):
    """A path or the bytes of a file -> (frames [n, h, w, 3] uint8, their indices [n], file's fps).

    A file whose end does not decode is sampled over what does.
    """
    name, deadline = images.named(source), time.monotonic() + c.seconds
    images.check_file(source, c.largest_file)
    total, fps = _counted(source, c, name, deadline)
    indices = sample(total, fps, c)
    frames, found = _picked(source, set(indices.tolist()), c, name, deadline)
    if found <= indices[-1]:
        indices = sample(found, fps, c)
        frames, again = _picked(source, set(indices.tolist()), c, name, deadline)
        if again <= indices[-1]:
            raise MediaError(
                f"{name} breaks off at frame {found}, then at {again}: convert it to H.264 with "
                "ffmpeg"
            )
    return np.stack([frames[i] for i in indices.tolist()]), indices, fps


def _counted(source, c, name, deadline):
    """How many frames the file lists, and its rate. Nothing is decoded yet."""
    with _opened(source, name) as (container, stream):
        images.check_source(name, stream.codec_context.width, stream.codec_context.height, c)
        total = 0
        for packet in container.demux(stream):
            total += packet.size > 0  # the last one is empty: it flushes the decoder
            _check_time(name, c, deadline)
            if total > c.longest:
                raise MediaError(
                    f"{name} has more than longest={c.longest} frames: cut it into shorter clips, "
                    "or raise the limit"
                )
        if total == 0:
            raise MediaError(f"{name} has no frames: fetch it again, or leave it out")
        rate = stream.average_rate or stream.guessed_rate
        if not rate:
            raise MediaError(f"{name} does not say its frame rate: write it again with ffmpeg")
        return total, float(rate)


def _picked(source, wanted, c, name, deadline):
    """({index: frame}, frames decoded), up to the last one wanted."""
    frames, size, i = {}, None, -1
    with _opened(source, name) as (container, stream):
        stream.thread_type = "AUTO"
        for i, frame in enumerate(_until_broken(container.decode(stream))):
            _check_time(name, c, deadline)
            images.check_source(name, frame.width, frame.height, c)
            size = size or (frame.width, frame.height)  # later ones may differ: they are scaled
            if i in wanted:
                array = frame.to_ndarray(format="rgb24", width=size[0], height=size[1])
                frames[i] = _resized(array, len(wanted), c, name)
            if len(frames) == len(wanted):
                break
    if i < 0:
        raise MediaError(f"{name}: not one frame can be decoded: fetch it again")
    return frames, i + 1


def _until_broken(frames):
    """The frames before the first that cannot be decoded."""
    try:
        yield from frames
    except av.error.FFmpegError:
        return


@contextlib.contextmanager
def _opened(source, name):
    """A container and its video stream; whatever FFmpeg raises meanwhile is named."""
    file = io.BytesIO(source) if isinstance(source, bytes) else os.fspath(source)
    try:
        with av.open(file, metadata_errors="replace") as container:
            streams = [s for s in container.streams.video if s.codec_context is not None]
            if not streams:
                kinds = sorted({s.type for s in container.streams})
                raise MediaError(
                    f"{name} has no video that can be decoded (streams: {kinds}): convert it to "
                    "H.264 with ffmpeg, or leave it out"
                )
            yield container, streams[0]
    except av.error.FFmpegError as error:
        raise MediaError(
            f"{name} cannot be read as a clip ({error}): convert it to H.264 with ffmpeg"
        ) from error


def _check_time(name, c, deadline):
    if time.monotonic() > deadline:
        raise MediaError(
            f"{name} takes longer than seconds={c.seconds} to decode: cut it, reduce it, or raise "
            "the limit"
        )


def _given(source, c, name):
    if isinstance(source, np.ndarray):
        arrays = list(images.checked(source, 4, name))
    else:
        limits = images.ImageConfig(largest_source=c.largest_source)
        arrays = [np.asarray(images.load(frame, limits)) for frame in source]
    if not arrays or len(arrays) > c.max_frames:
        raise MediaError(f"{name} of {len(arrays)} frames: give 1 to max_frames={c.max_frames}")
    height, width = arrays[0].shape[:2]
    same = [x if x.shape[:2] == (height, width) else _scaled(x, width, height) for x in arrays]
    return np.stack([_resized(x, len(same), c, name) for x in same])


def _resized(array, n, c, name):
    """A frame at the size that n of them have: at once, so that few large frames are held."""
    height, width = images.smart_resize(
        *array.shape[:2],
        factor=c.factor,
        min_pixels=c.min_pixels,
        max_pixels=frame_pixels(n, c),
        name=name,
    )
    return array if array.shape[:2] == (height, width) else _scaled(array, width, height)


def _scaled(array, width, height):
    resized = Image.fromarray(array).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized)
