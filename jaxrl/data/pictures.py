"""The pictures and clips of Contents, from their files, as one model's tower takes them.

    media = budgets(c.vision)
    visuals = read(Content("a cat", images=("cat.png",)), media)

Needs Pillow and PyAV, the extra `vision`: who reads text alone never imports this file.
"""

import dataclasses

from jaxrl.data import images, videos


@dataclasses.dataclass(frozen=True)
class Media:
    """At what sizes pictures and clips are read."""

    image: images.ImageConfig
    video: videos.VideoConfig


def budgets(tower):
    """The Media of a tower (vision.Config), with the budgets of the reports in visual tokens.

    4 to 1800 a picture, 7680 a clip: as ImageConfig and VideoConfig have them (arXiv:2601.04720).
    """
    return Media(_fitted(images.ImageConfig(), tower), _fitted(videos.VideoConfig(), tower))


def read(content, media):
    """The Visuals of a Content, clips first as in templates; a MediaError names a bad file."""
    clips = [videos.read(path, media.video) for path in content.videos]
    return (*clips, *(images.read(path, media.image) for path in content.images))


def _fitted(c, tower):
    """The same number of visual tokens, of a tower whose patches have another size."""
    ratio = (tower.patch * tower.merge) ** 2 / c.factor**2
    pixels = ("min_pixels", "max_pixels", "total_pixels")
    changes = {key: int(value * ratio) for key, value in vars(c).items() if key in pixels}
    same = {"patch": tower.patch, "merge": tower.merge, "frames": tower.frames}
    return dataclasses.replace(c, **same, **changes)
