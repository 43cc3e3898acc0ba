"""A run of seconds for tests: a tiny random model that learns nothing, every stage exercised.

    python -m launch.train --config=configs/tiny.py --workdir=runs/tiny \
        --config.model.checkpoint=DIR

DIR is any Hugging Face directory of a supported family; the tests write a random one.
"""

from configs import base


def get_config():
    """The smallest run that evaluates, samples, learns and saves."""
    c = base.rl()
    c.steps = 2
    c.env.params = {
        "dataset": "chain_sum",
        "options": {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1},
        "size": 32,
        "held_out": 0.4,
        "style": "few_shot",
        "show": ": (.*)",
    }
    c.eval.params = {"split": "held_out", "size": 8}
    c.eval.prompts = 8
    c.rollout.update(prompts=8, group=2, buckets=(24,), max_new=4, workers=1)
    c.learner.update(width=64, scored=16, micro=8)  # 8 rows a micro-batch fit meshes of up to 8
    c.optimizer.lr = 1e-3
    c.checkpoint.every = 0
    c.log.rollouts = 2
    return c
