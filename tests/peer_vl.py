"""The same rows for transformers' Qwen3-VL: its inputs from our batch, its random tiny model."""

import numpy as np
import tiny_vl
import torch
import transformers

from jaxrl.data import visual_prompts as prompts
from jaxrl.models import vl_families


def model(c=tiny_vl.MODEL, seed=0):
    """Random weights of a size at which mistakes show, rounded to bf16, computing in f32."""
    torch.manual_seed(seed)
    settings = vl_families.to_hf(c)
    config = transformers.Qwen3VLConfig(
        **{k: v for k, v in settings.items() if k not in ("architectures", "model_type")}
    )
    made = transformers.Qwen3VLForConditionalGeneration(config)
    for parameter in made.parameters():
        fresh = 1 + 0.3 * torch.randn_like(parameter)
        if parameter.ndim >= 2:
            fan_in = parameter[0].numel()
            fresh = torch.randn_like(parameter) * 1.5 * fan_in**-0.5
        parameter.data = fresh.bfloat16().float()
    return made.eval()


def inputs(rows, left=False):
    """Rendered rows, padded -> the arguments of its forward."""
    length = max(len(row.tokens) for row in rows)
    ids = torch.full((len(rows), length), tiny_vl.TOKENIZER.pad_id)
    mask = torch.zeros_like(ids)
    for b, row in enumerate(rows):
        span = slice(length - len(row.tokens), length) if left else slice(0, len(row.tokens))
        ids[b, span], mask[b, span] = torch.asarray(row.tokens, dtype=ids.dtype), 1
    out = {"input_ids": ids, "attention_mask": mask}
    image = ids == tiny_vl.MODEL.image_id
    out["mm_token_type_ids"] = (image + 2 * (ids == tiny_vl.MODEL.video_id)).int()
    for mark, pixels, grid in (
        (prompts.IMAGE, "pixel_values", "image_grid_thw"),
        (prompts.VIDEO, "pixel_values_videos", "video_grid_thw"),
    ):
        chosen = [v for row in rows for v in row.visuals if prompts.mark(v) == mark]
        if chosen:
            values = np.concatenate([v.patches for v in chosen])
            out[pixels] = (torch.asarray(values).float() - 127.5) / 127.5
            out[grid] = torch.asarray([v.grid for v in chosen])
    return out


def run(made, rows, left=False):
    """(hidden states after the last norm, logits), [B, T, ..] of the padded rows."""
    given = inputs(rows, left)
    with torch.no_grad():
        hidden = made.model(**given).last_hidden_state
        return hidden.numpy(), made.lm_head(hidden).numpy()
