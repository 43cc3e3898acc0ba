"""Pictures from disk or memory to patches, within limits on what a bad file may cost.

    visual = images.read("cat.png", ImageConfig())

Read by Pillow: the extra `vision` (pip install "jaxrl[vision]"). A picture is turned as its EXIF
orientation says, and transparency becomes white. Sizes and resizing are those of the Qwen3-VL
scripts (arXiv:2601.04720): multiples of 32 pixels, bicubic, 4 to 1800 visual tokens.
"""

import dataclasses
import io
import math
import os

import numpy as np
from PIL import Image, ImageOps

from jaxrl.data.media import MediaError, cut

RATIO = 200  # longest side to shortest, as the scripts refuse it


@dataclasses.dataclass(frozen=True)
class ImageConfig:
    """Sizes of patches, and limits. 32 × 32 pixels make one visual token."""

    patch: int = 16  # pixels
    merge: int = 2  # patches a side that become one visual token
    frames: int = 2  # in a patch: a picture is repeated
    min_pixels: int = 4 * 32 * 32  # a smaller picture is enlarged
    max_pixels: int = 1800 * 32 * 32  # a larger one is reduced
    largest_file: int = 64 * 2**20  # bytes; not given in the paper, our choice, as is the next
    largest_source: int = 80_000_000  # pixels of a file, before it is decoded

    def __post_init__(self):
        check_sizes("image", self)

    @property
    def factor(self):
        """Pixels of a visual token's side."""
        return self.patch * self.merge


def check_sizes(what, c):
    """Refuses budgets that no picture can meet; c: an ImageConfig or VideoConfig."""
    for key in ("patch", "merge", "frames", "largest_file", "largest_source"):
        if getattr(c, key) < 1:
            raise ValueError(f"{what}.{key}={getattr(c, key)}: give at least 1")
    if not c.factor**2 <= c.max_pixels or c.min_pixels > c.max_pixels:
        raise ValueError(
            f"{what}.min_pixels={c.min_pixels} and max_pixels={c.max_pixels}: give a maximum of at "
            f"least the minimum and of one visual token, {c.factor**2}"
        )


def read(source, c):
    """A path, the bytes of a file, a PIL image or an array [h, w, 3] uint8 -> media.Visual."""
    image = load(source, c)
    return cut(fitted(image, c, named(source))[None], c)


def load(source, c):
    """The same sources -> a PIL image in RGB, decoded, at its own size."""
    if isinstance(source, np.ndarray):
        return Image.fromarray(checked(source, 3, named(source)))
    if isinstance(source, Image.Image):
        return _rgb(source)
    name = named(source)
    check_file(source, c.largest_file)
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            check_source(name, image.width, image.height, c)
            return _rgb(image)
    except MediaError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's own limit, which is above ours
        raise MediaError(f"{name} is too large to decode ({error}): reduce the picture") from error
    # Pillow's plugins raise what they meet in a broken file: OSError, SyntaxError, struct.error …
    except Exception as error:
        raise MediaError(
            f"{name} cannot be read as a picture ({error}): save it again as PNG or JPEG"
        ) from error


def fitted(image, c, name):
    """A PIL image -> [h, w, 3] uint8 of the size the model takes."""
    height, width = smart_resize(
        image.height,
        image.width,
        factor=c.factor,
        min_pixels=c.min_pixels,
        max_pixels=c.max_pixels,
        name=name,
    )
    if (width, height) == image.size:
        return np.asarray(image)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def smart_resize(height, width, *, factor, min_pixels, max_pixels, name="the picture"):
    """The size in pixels, (height, width), at which a picture is read.

        h' = round(h / f) · f, at least f                  and so w'
        too large: h' = ⌊h / β / f⌋ · f, β = √(hw / max)   too small: ⌈h β / f⌉ · f, β = √(min / hw)

    qwen_vl_utils' rule (arXiv:2601.04720); a side that the second line makes 0 stays f.
    """
    if min(height, width) < 1 or max(height, width) > RATIO * min(height, width):
        raise MediaError(
            f"{name} is {width} × {height} pixels: sides of at most {RATIO} to 1 are read; crop it"
        )
    nearest = lambda x: max(factor, round(x / factor) * factor)
    if nearest(height) * nearest(width) > max_pixels:
        beta = math.sqrt(height * width / max_pixels)
        down = lambda x: max(factor, math.floor(x / beta / factor) * factor)
        return down(height), down(width)
    if nearest(height) * nearest(width) < min_pixels:
        beta = math.sqrt(min_pixels / (height * width))
        up = lambda x: math.ceil(x * beta / factor) * factor
        return up(height), up(width)
    return nearest(height), nearest(width)


def check_file(source, most):
    """Refuses a path that is missing, and a file, on disk or in bytes, empty or above `most`."""
    name = named(source)
    if not isinstance(source, bytes) and not os.path.isfile(source):
        raise MediaError(f"no file at {name}: check the path")
    size = len(source) if isinstance(source, bytes) else os.path.getsize(source)
    if size == 0:
        raise MediaError(f"{name} is empty: fetch it again")
    if size > most:
        raise MediaError(
            f"{name} has {size} bytes, more than largest_file={most}: reduce it, or raise the limit"
        )


def check_source(name, width, height, c):
    """Refuses a file by the size in its header, before anything of that size is allocated."""
    if width * height > c.largest_source:
        raise MediaError(
            f"{name} is {width} × {height} pixels, more than largest_source={c.largest_source}: "
            "reduce the picture, or raise the limit"
        )


def checked(array, rank, name):
    """The array itself, if it is [.., h, w, 3] uint8 of this rank and not empty."""
    if array.ndim != rank or array.shape[-1] != 3 or array.dtype != np.uint8 or not array.size:
        wanted = "[h, w, 3]" if rank == 3 else "[frames, h, w, 3]"
        raise MediaError(f"{name} is {array.dtype} {list(array.shape)}: give {wanted} uint8")
    return array


def named(source):
    """What to call a source in an error."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return f"the given {type(source).__name__}"


def _rgb(image):
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):  # Pillow would clip these greys at 255
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image.convert("RGB")
