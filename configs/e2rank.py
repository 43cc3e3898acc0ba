"""E2Rank (arXiv:2510.22733) from Qwen3-0.6B, both stages, for a slice of 8 devices.

    python -m launch.train --config=configs/e2rank.py --workdir=runs/e2rank \
        --config.first.model.checkpoint=DIR_OF_QWEN3_0.6B \
        --config.first.data.path=PAIRS --config.second.data.path=LISTS

PAIRS have a positive and a negative a row, LISTS 16 documents and their ranking, as launch.label or
the authors' published file gives them. Batches, learning rates, warm-up, lengths, temperatures and
λ are the paper's; betas and decay, which it does not print, are optax's. Not run here.
"""

import math

from configs import base_embedders


def get_config():
    """About 2,900 updates of 512 pairs, then 700 of 128 lists."""
    c = base_embedders.e2rank()
    for stage in (c.first, c.second):
        stage.model.update(dtype="bfloat16", remat="block")
        stage.mesh.update(data=-1)
        stage.embedder.template = "qwen3"
        stage.data.query_length = 512
        stage.optimizer.schedule = "linear"
        stage.checkpoint.every = 200
    c.first.steps, c.second.steps = 2900, 700
    c.first.data.update(batch=512, documents=2, document_length=512)
    c.first.loss.update(name="info_nce", temperature=0.03, margin=math.inf)
    c.first.learner.micro = 64
    c.first.optimizer.update(lr=2e-5, warmup=300)
    c.second.data.update(batch=128, documents=16, document_length=1024, prompt_length=32_768)
    c.second.loss.update(temperature=0.03, rank_weight=2.0, rank_temperature=0.1)
    c.second.learner.micro = 8
    c.second.optimizer.update(lr=5e-6, warmup=21)
    c.second.eval.shown = 20
    return c
