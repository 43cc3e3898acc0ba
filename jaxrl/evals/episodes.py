"""Held-out tasks of an env with tools: one greedy episode each, scored by the env."""

import jax
import numpy as np

from jaxrl.ops import metrics


def row(env, batch, *, step, name="held_out"):
    """A Batch of one episode a task -> a row of eval.jsonl.

    An episode that failed counts 0, and is counted. The interval is a bootstrap's, over tasks.
    """
    episodes = batch.episodes
    reward = np.nan_to_num(np.array([e.reward for e in episodes], np.float32))
    every = np.ones(len(reward), bool)
    low, high = metrics.bootstrap_interval(reward, every, jax.random.key(0))
    return {
        "step": step,
        "name": name,
        "n": len(reward),
        "reward": float(reward.mean()),
        "low": float(low),
        "high": float(high),
        "unscorable": sum(e.ending == "failed" for e in episodes),
        "answered": sum(e.ending == "answer" for e in episodes),
        "rows": [
            {
                "prompt": e.asked[-1].content,
                "response": e.said[-1].content if e.said else "",
                "answer": env.answer(env.reset(e.index)[0]),
                "score": float(score),
            }
            for e, score in zip(episodes, reward, strict=True)
        ],
    }
