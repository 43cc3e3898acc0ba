"""Qwen3-VL-Reranker (arXiv:2601.04720) from Qwen3-VL-2B, for a slice of 64 devices.

    python -m launch.train --config=configs/qwen3_vl_reranker.py --workdir=runs/reranker \
        --config.model.checkpoint=DIR_OF_QWEN3_VL_2B --config.data.path=MINED_ROWS

The loss and the adapters are the paper's; batch, learning rate and steps, which it does not print,
are our choice. Not run here: it needs the slice.
"""

from configs import base_embedders


def get_config():
    """Yes for the positive, no for seven negatives that an embedder found hard."""
    c = base_embedders.reranker()
    c.steps = 2000
    c.model.update(dtype="bfloat16", base="bfloat16", remat="block")
    c.model.lora.update(rank=32, alpha=32.0, targets=("q", "k", "v", "gate", "up", "down"))
    c.mesh.update(data=-1, fsdp=8)
    c.reranker.template = "qwen3_vl"
    c.data.update(batch=128, documents=8, length=4096)
    c.learner.micro = 64
    c.optimizer.update(lr=1e-4, warmup=60, schedule="cosine")
    c.eval.every = c.checkpoint.every = 200
    return c
