"""Contents as they stand in files of JSON lines.

    "a text"
    {"text": "the same cat by night", "image": "cat.png", "video": ["walk.mp4", "jump.mp4"]}

Each key may be left out, an image or a video may be several. Paths are seen from the file's folder.
"""

import os

from jaxrl.data.contents import Content

KEYS = ("text", "image", "video")


def reader(folder):
    """A function: what stands in a file of this folder -> Content, or ValueError if it is none."""
    known = set()  # files that are there: a picture often stands in many rows

    def paths(value, key):
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(v, str) and v for v in values):
            raise ValueError(f"{key} is {value!r:.60}: give a path or a list of paths")
        found = tuple(os.path.normpath(os.path.join(folder, v)) for v in values)
        for path in found:
            if path not in known and not os.path.isfile(path):
                raise ValueError(f"{key} {path!r} is no file")
            known.add(path)
        return found

    def read(value):
        if isinstance(value, str):
            value = {"text": value}
        if not isinstance(value, dict) or not set(value) <= set(KEYS):
            raise ValueError(f"{value!r:.60} is no content: give a text, or some of {KEYS}")
        text = value["text"] if "text" in value else ""
        if not isinstance(text, str):
            raise ValueError(f"text {text!r:.60} is no string")
        text.encode()  # fails on half a character, which no tokenizer takes
        images, videos = (paths(value[k] if k in value else [], k) for k in KEYS[1:])
        if not (text.strip() or images or videos):
            raise ValueError("it is empty: nothing to learn")
        return Content(text, images, videos)

    return read


def written(content, folder):
    """A Content as it stands in a file of this folder: the inverse of `reader`."""
    if not content.images and not content.videos:
        return content.text
    seen = lambda paths: [os.path.relpath(path, folder) for path in paths]
    found = {"text": content.text, "image": seen(content.images), "video": seen(content.videos)}
    return {key: value for key, value in found.items() if value}
