"""GRPO on grade-school maths with Qwen3-1.7B, on one TPU host with eight chips (v5e-8 or v6e-8).

    hf download Qwen/Qwen3-1.7B --local-dir checkpoints/Qwen3-1.7B
    python -m launch.train --config=configs/grpo_math.py --workdir=runs/grpo_math
    ... --config.env.params.path=FILE --config.eval.params.path=HELD_OUT_FILE
    ... --config.mesh.tensor=4 --config.mesh.data=2

The files have GSM8K's form: {"question": ..., "answer": "... #### 18"} on each line. Expect the
share of right answers among the samples to rise, and the report to show accuracy on the held-out
file before, every 50 updates and after.

Not run on a TPU yet: the tests build it and check that mesh, rows and kernels fit the model.
"""

from configs import base


def get_config():
    """One pass over about 3,200 of GSM8K's 7,473 training questions."""
    c = base.rl()
    c.steps = 200
    c.model.update(checkpoint="checkpoints/Qwen3-1.7B", dtype="bfloat16", remat="block")
    c.mesh.update(data=1, fsdp=1, tensor=8)  # 8 key heads; decoding then gathers no weights
    c.env.name = "jsonl"
    c.env.params = {
        "path": "data/gsm8k/train.jsonl",
        "suffix": "Reason step by step and put the final answer in \\boxed{}. /no_think",
        "extract": "marked",
    }
    c.eval.params = {"path": "data/gsm8k/test.jsonl"}
    c.eval.update(every=50, prompts=64)
    c.rollout.update(prompts=16, group=8, buckets=(128, 256, 384), max_new=1024, workers=8)
    c.rollout.update(zero_variance="drop")  # with a token mean over what is left: DAPO's
    c.overlong.buffer = 256
    c.loss.eps_high = 0.28  # DAPO's clip-higher, arXiv:2503.14476
    c.learner.update(width=8576, scored=8192)  # 384 + 8 · 1024, in blocks of 128 for the kernel
    c.optimizer.update(lr=1e-6, warmup=10)
    c.checkpoint.every = 25
    return c
