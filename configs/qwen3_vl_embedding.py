"""Qwen3-VL-Embedding's stages (arXiv:2601.04720) from Qwen3-VL-2B, for a slice of 64 devices.

    python -m launch.train --config=configs/qwen3_vl_embedding.py:contrastive --workdir=runs/s0 \
        --config.model.checkpoint=DIR_OF_QWEN3_VL_2B --config.data.path=ROWS
    python -m launch.mine --rows=ROWS --model=runs/s0/embedder --out=MINED
    ... --config=configs/qwen3_vl_embedding.py:multi_task --config.model.checkpoint=runs/s0/embedder
    ... --config=configs/qwen3_vl_embedding.py:distillation --config.data.path=ROWS_WITH_SCORES
    python -m launch.merge --base=DIR --models=runs/s1/embedder,runs/s2/embedder --out=runs/s3

Adapters, their targets and the mask's margin are the paper's, which prints neither temperature,
batch, learning rate, prefixes nor weights: those are our choice. Not run here: it needs the slice.
"""

from configs import base_embedders

STAGES = {
    "contrastive": {"loss.query_query": True, "loss.document_document": True, "data.documents": 2},
    "multi_task": {"data.documents": 8},
    "distillation": {"loss.name": "distillation", "data.documents": 16},
}


def get_config(stage="contrastive"):
    """stage: a key of STAGES, behind a colon on the command line."""
    if stage not in STAGES:
        raise ValueError(f"stage={stage!r}: give one of {', '.join(STAGES)}")
    c = base_embedders.embed()
    c.steps = 2000
    c.model.update(dtype="bfloat16", base="bfloat16", remat="block")
    c.model.lora.update(rank=32, alpha=32.0, targets=("q", "k", "v", "gate", "up", "down"))
    c.mesh.update(data=-1, fsdp=8)
    c.embedder.template = "qwen3_vl"
    c.data.update(batch=1024, query_length=2048, document_length=2048)
    c.loss.update(temperature=0.03, dims=(2048, 1024, 512, 256, 128, 64))
    c.loss.formats = ("int8", "binary")
    c.learner.micro = 64
    c.optimizer.update(lr=1e-4, warmup=60, schedule="cosine")
    c.eval.every = c.checkpoint.every = 200
    c.update_from_flattened_dict(STAGES[stage])
    return c
