"""ArenaRL on Open-DeepResearch with Qwen3-8B (arXiv:2601.06487), for a slice of 64 devices.

    python -m launch.train --config=configs/arena_research.py --workdir=runs/arena_research \
        --config.sft.model.checkpoint=DIR_OF_QWEN3_8B_BASE --config.rl.reward.url=https://…/v1 \
        --config.rl.reward.model=NAME_OF_THE_JUDGE

As configs/arena_travel.py, on documents that packages ship (jaxrl/envs/research): four tasks an
update and eight episodes each, the paper's; up to ten rounds of tools, the authors' code's. Not run
here: it needs the slice and a judge.
"""

from configs import arena_travel


def get_config():
    """The paper's run; its SFT saw 2,662 episodes three times."""
    c = arena_travel.get_config()
    c.expert.params = {"split": "sft", "size": 2662 + 100}
    c.sft.steps = 3 * 2662 // 32
    c.sft.data.max_length = 16_384
    c.rl.env.name = "open_deepresearch"
    c.rl.rollout.update(prompts=4, group=8, turns=11)  # ten rounds of tools, and the report
    c.rl.reward.rubric = "research"
    return c
