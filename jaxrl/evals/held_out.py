"""Accuracy on held-out tasks: greedy, scored as the rewards of training are."""

import numpy as np

from jaxrl.ops import metrics
from jaxrl.parallel import hosts
from jaxrl.rewards import verified
from jaxrl.rollouts import collect


def evaluate(env, pool, tokenizer, sampler, params, key, *, name, step, prompts, share=None):
    """All tasks of env, `prompts` at a time, one answer each -> a row of eval.jsonl.

    Right means a score of at least 1; an unscorable answer is wrong, and counted. share: of the
    prompts, where several processes answer.
    """
    rows, mine = {}, (share or hosts.whole(prompts)).mine
    for start in range(0, len(env), prompts):
        indices = [start + int(n) for n in mine if start + n < len(env)]
        traj, states = collect.collect(env, tokenizer, sampler, params, indices, key)
        scores, _ = verified.score(pool, states, traj.texts)
        for p, (state, text, score) in enumerate(zip(states, traj.texts, scores, strict=True)):
            prompt = tokenizer.decode(traj.prompt_tokens[p][traj.prompt_valid[p]])
            shown = {"prompt": prompt, "response": text, "answer": env.answer(state)}
            rows[indices[p]] = shown | {"score": float(score)}
    rows = list(hosts.merged(rows).values())
    correct = sum(row["score"] >= 1 for row in rows)
    low, high = metrics.wilson_interval(correct, len(rows))
    return {
        "step": step,
        "name": name,
        "n": len(rows),
        "correct": correct,
        "accuracy": correct / len(rows),
        "low": float(low),
        "high": float(high),
        "unscorable": int(np.isnan([row["score"] for row in rows]).sum()),
        "rows": rows,
    }
