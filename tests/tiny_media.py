"""Pictures and clips made on the spot, and contents over them for the tiny Qwen3-VL."""

import dataclasses
import io
from fractions import Fraction

import av
import numpy as np
import tiny_tokenizers
import tiny_vl
from PIL import Image

from jaxrl.data import pictures
from jaxrl.data import visual_prompts as prompts

SPECIALS = ("<end>", prompts.START, prompts.END, prompts.IMAGE_PAD, prompts.VIDEO_PAD)
SPECIALS += ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "yes", "no")
CHAT = tiny_tokenizers.build(SPECIALS, eos="<|endoftext|>")  # with the ids of tiny_vl.IDS
PLAIN = pictures.budgets(tiny_vl.TOWER)
MEDIA = dataclasses.replace(  # a frame of a clip: 4 tokens, not 128
    PLAIN, video=dataclasses.replace(PLAIN.video, min_pixels=3 * 64, max_pixels=4 * 64)
)


def clip(n, *, fps=10, size=(64, 64), format="matroska", codec="ffv1"):
    """A file of n frames, each as grey as its number: 2 i."""
    file = io.BytesIO()
    with av.open(file, "w", format=format) as out:
        stream = out.add_stream(codec, rate=Fraction(fps))
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        out.start_encoding()
        for i in range(n):
            shade = np.full((size[1], size[0], 3), 2 * i, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(shade)))
        out.mux(stream.encode())
    return file.getvalue()


def files(folder):
    """Two pictures of 2 × 3 visual tokens and a clip of 2 × 4, and three that are none: paths."""
    rng = np.random.default_rng(0)
    for name in ("one.png", "two.png"):
        Image.fromarray(rng.integers(0, 256, (16, 24, 3), np.uint8)).save(folder / name)
    (folder / "clip.mkv").write_bytes(clip(40, size=(16, 16)))
    (folder / "broken.png").write_bytes((folder / "one.png").read_bytes()[:60])
    (folder / "empty.mkv").write_bytes(b"")
    (folder / "odd.mkv").write_bytes(b"RIFF" + bytes(range(200)))
    return {at.name: str(at) for at in folder.iterdir()}
