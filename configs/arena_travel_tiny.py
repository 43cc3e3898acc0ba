"""ArenaRL whole, on two CPU cores: a tiny policy learns Open-Travel from an expert, then by arena.

python -m launch.train --config=configs/arena_travel_tiny.py --workdir=runs/arena

About a quarter of an hour: ten minutes imitate, four reinforce. Expect a mean utility of 0.47 on
held-out tasks after imitation, and 0.5 to 0.6 after thirty-two updates, by seed.
"""

from configs import base


def get_config():
    """Searches around a place, by a policy of a million parameters."""
    c = base.stages()
    travel = {"split": "rl", "size": 512, "only": ("search",), "brief": True}
    c.start.update(vocab=3000, width=128, layers=4, heads=2, feed_forward=384, context=2048)
    c.expert.params = {"split": "sft", "size": 4096 + 64}
    c.expert.held_out = 64
    c.sft.steps = 400
    c.sft.data.update(batch=32, max_length=960)
    c.sft.learner.update(width=960, micro=4)
    c.sft.optimizer.update(lr=1e-3, warmup=40, b2=0.98, schedule="cosine", final=0.1)
    c.sft.eval.every = 100
    c.sft.checkpoint.every = 100
    c.rl.steps = 32
    c.rl.env.params = travel
    c.rl.eval.params = {"split": "test", "size": 128}
    c.rl.eval.every = 8
    c.rl.rollout.update(
        prompts=8,
        group=8,
        anchor=True,
        temperature=0.8,
        prompt=128,
        schemas=False,
        turns=4,
        tokens=896,
        reply=128,
        observation=3000,
        at_once=64,
    )
    c.rl.engine.update(slots=64, pages=4800, page=16, steps=8, chunk=256)
    c.rl.reward.update(name="tournament", sigma=0.1)
    c.rl.advantage.name = "arena"
    c.rl.learner.update(width=1024, micro=4)
    c.rl.optimizer.update(lr=1e-4, clip=0.3)  # one bad batch must not undo what was learned
    c.rl.checkpoint.every = 8
    return c
