"""The run that the survival bench kills: 16 updates, 128 tasks, each of them seen once.

    python -m launch.train --config=launch/benches/survival_config.py --workdir=DIR \
        --config.model.checkpoint=DIR
"""

from configs import base

UPDATES, PROMPTS, GROUP = 16, 8, 2


def get_config():
    """Every rollout is logged, so that the records tell which task was consumed when."""
    c = base.rl()
    c.steps = UPDATES
    c.env.name = "launch.benches.survival_env:Faulty"
    c.env.params = {"size": UPDATES * PROMPTS, "fault": "", "every": 32, "first": 0}
    c.eval.params = {"split": "held_out", "size": 8}
    c.eval.update(prompts=8, every=8)
    c.rollout.update(prompts=PROMPTS, group=GROUP, buckets=(16,), max_new=4, workers=1)
    c.learner.update(width=64, scored=16, micro=8)  # 8 rows fit meshes of up to 8 devices
    c.optimizer.update(lr=1e-2, eps=1e-3)  # a large ε: another mesh's rounding is not amplified
    c.checkpoint.update(every=2, keep=2)
    c.log.rollouts = PROMPTS * GROUP
    return c
