"""Rewards that a program gives: one env step on each reply of a single-turn task."""

import logging

import numpy as np

from jaxrl.envs.base import Failure

log = logging.getLogger(__name__)


def score(pool, states, texts):
    """Steps `pool` on every (state, reply): rewards [B] f32 in order, and why one is missing [B].

    NaN marks a reply that could not be scored; the first failure of a call is logged in words.
    """
    steps = pool.step(states, texts)
    failures = [s for s in steps if isinstance(s, Failure)]
    rewards = [np.nan if isinstance(s, Failure) else s.reward for s in steps]
    if failures:
        first = failures[0]
        log.warning("%d of %d replies unscorable; first: %s, %s", len(failures), len(steps), *first)
    reasons = [s.reason if isinstance(s, Failure) else "" for s in steps]
    return np.array(rewards, np.float32), np.array(reasons, str)
