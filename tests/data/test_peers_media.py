"""Pictures and clips as transformers' processors of Qwen3-VL cut them, and their prompts."""

import importlib
import json
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_vl
from PIL import Image

from jaxrl.data import images, videos
from jaxrl.data import visual_prompts as prompts
from jaxrl.data.images import ImageConfig
from jaxrl.data.media import cut
from jaxrl.data.videos import VideoConfig
from jaxrl.models import vl_families

pytestmark = pytest.mark.peers
C = ImageConfig()


def theirs(module, name):
    """A name of transformers.models, or a skip where torch is missing."""
    pytest.importorskip("torch")
    return getattr(importlib.import_module(f"transformers.models.{module}"), name)


def noise(h, w, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), np.uint8)


@pytest.mark.parametrize("size", [(100, 133), (480, 640), (700, 3000), (20, 20), (2000, 1500)])
def test_a_picture_has_their_patches(size, tmp_path):
    """Bit for bit: their resize by Pillow, their order; the values before they are scaled."""
    kind = theirs("qwen2_vl.image_processing_pil_qwen2_vl", "Qwen2VLImageProcessorPil")
    published = vl_families.from_hf(tiny_vl.published("2B"))
    file = tmp_path / "preprocessor_config.json"  # as we write it beside weights
    file.write_text(json.dumps(vl_families.processors(published)[file.name]))
    processor = kind.from_pretrained(tmp_path)
    given = Image.fromarray(noise(*size)).resize((size[1], size[0]))
    want = processor(images=[given], return_tensors="np")
    got = images.read(given, C)
    assert [list(got.grid)] == want["image_grid_thw"].tolist()
    values = (got.patches.astype(np.float32) - 127.5) / 127.5
    np.testing.assert_allclose(values, want["pixel_values"], atol=1e-6)


def test_sizes_are_theirs():
    """Of many pictures and clips whose sides do not round to nothing, where the two rules part."""
    rule = theirs("qwen2_vl.image_processing_pil_qwen2_vl", "smart_resize")
    rng = np.random.default_rng(0)
    for h, w in np.exp(rng.uniform(3, 9, (2000, 2))).astype(int):
        if max(h, w) > 200 * min(h, w):
            continue
        limits = {"factor": 32, "min_pixels": C.min_pixels, "max_pixels": C.max_pixels}
        assert images.smart_resize(h, w, **limits) == rule(h, w, **limits)


def test_frames_budgets_and_times_are_theirs():
    """With the budget of each frame that the scripts have, which theirs calls a cap."""
    module = "qwen3_vl.video_processing_qwen3_vl"
    sample = theirs(module, "Qwen3VLVideoProcessor").sample_frames
    rule = theirs(module, "smart_resize")
    times = theirs("qwen3_vl.processing_qwen3_vl", "Qwen3VLProcessor")._calculate_timestamps
    c, rng = VideoConfig(), np.random.default_rng(0)
    self = SimpleNamespace(fps=c.fps, min_frames=c.min_frames, max_frames=c.max_frames)
    for total in rng.integers(4, 5000, 300).tolist():
        fps = float(rng.choice([10.0, 24.0, 25.0, 30000 / 1001]))
        want = sample(self, SimpleNamespace(total_num_frames=total, fps=fps))
        got = videos.sample(total, fps, c)
        if len(want) % 2 == 0:  # theirs pads an odd count, the scripts drop a frame
            np.testing.assert_array_equal(got, want)
        assert abs(len(got) - len(want)) <= 1
        assert videos.timestamps(got, fps, 2) == tuple(times(None, got.tolist(), fps))
        n, most = len(got), videos.frame_pixels(len(got), c)
        h, w = rng.integers(100, 2000, 2).tolist()
        limits = {"factor": 32, "min_pixels": n * c.min_pixels, "max_pixels": n * most}
        ours = {"factor": 32, "min_pixels": c.min_pixels, "max_pixels": most}
        assert images.smart_resize(h, w, **ours) == rule(n, h, w, **limits)


@pytest.mark.parametrize("count", [4, 5])
def test_a_clip_has_their_patches(count):
    """Order and the repeated last frame, of frames already at their size."""
    torch = pytest.importorskip("torch")
    patchify = theirs("qwen3_vl.video_processing_qwen3_vl", "Qwen3VLVideoProcessor").patchify
    frames = np.stack([noise(64, 96, i) for i in range(count)])
    given = torch.asarray(frames.transpose(0, 3, 1, 2).copy())[None]
    want, *grid = patchify(None, given, patch_size=16, merge_size=2, temporal_patch_size=2)
    got = cut(frames, VideoConfig())
    assert list(got.grid) == grid
    np.testing.assert_array_equal(got.patches, want[0].numpy())


def test_frames_are_reduced_as_torch_does():
    """Bicubic with anti-aliasing, by Pillow here and by torch in the scripts: within a level."""
    torch = pytest.importorskip("torch")
    frame = np.kron(noise(30, 40), np.ones((12, 12, 1), np.uint8))
    got = videos._scaled(frame, 192, 128).astype(int)
    given = torch.asarray(frame.transpose(2, 0, 1).copy())[None]
    want = torch.nn.functional.interpolate(given, (128, 192), mode="bicubic", antialias=True)
    error = np.abs(got - want[0].numpy().transpose(1, 2, 0).astype(int))
    assert error.max() <= 1


def test_prompts_and_positions_are_theirs():
    """Their placeholders, and the rotary positions their model computes from the ids."""
    torch = pytest.importorskip("torch")
    peer = importlib.import_module("peer_vl")
    processor = theirs("qwen3_vl.processing_qwen3_vl", "Qwen3VLProcessor")
    seen = tiny_vl.visuals()
    self = SimpleNamespace(
        image_token=prompts.IMAGE_PAD,
        video_token=prompts.VIDEO_PAD,
        vision_start_token=prompts.START,
        vision_end_token=prompts.END,
        image_processor=SimpleNamespace(merge_size=2),
        video_processor=SimpleNamespace(merge_size=2, temporal_patch_size=2),
        _calculate_timestamps=lambda *x: processor._calculate_timestamps(None, *x),
    )
    image = {"image_grid_thw": torch.asarray([seen["wide"].grid])}
    want = prompts.START + processor.replace_image_token(self, image, 0) + prompts.END
    assert prompts.expand(prompts.IMAGE, [seen["wide"]]) == want
    indices, fps = [0, 12, 24, 37, 49, 61], 24.0
    facts = SimpleNamespace(fps=fps, frames_indices=indices)
    grids = {"video_grid_thw": torch.asarray([seen["long"].grid]), "video_metadata": [facts]}
    clip = seen["long"]._replace(times=videos.timestamps(indices, fps, 2))
    assert prompts.expand(prompts.VIDEO, [clip]) == processor.replace_video_token(self, grids, 0)
    rows = tiny_vl.rendered(tuple(tiny_vl.ROWS))
    given = peer.inputs(rows)
    names = ("input_ids", "mm_token_type_ids", "image_grid_thw", "video_grid_thw", "attention_mask")
    positions, _ = peer.model().model.get_rope_index(**{k: given[k] for k in names})
    for b, row in enumerate(rows):
        np.testing.assert_array_equal(positions[:, b, : len(row.tokens)].numpy(), row.position)
