"""The records that cross folders. Each field says its shape; letters as in the README.

P prompts, G samples of each, B = P·G samples, T prompt slots, R response slots; N learner rows of
W columns, each with M scored tokens.
"""

import dataclasses

import numpy as np
from flax import struct
from jax import Array


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """What one call of the sampler produced and what became of it. Host arrays (numpy).

    Three masks: `valid` (a real token), `mask` (the policy chose it), `Rows.mask` (in the loss).
    """

    prompt_tokens: np.ndarray  # [P, T] int32, padded on the left
    prompt_valid: np.ndarray  # [P, T] bool
    tokens: np.ndarray  # [B, R] int32, padded on the right; the stop token is included
    valid: np.ndarray  # [B, R] bool
    mask: np.ndarray  # [B, R] bool
    logp: (
        np.ndarray
    )  # [B, R] f32: of the law sampled from (temperature, top-k, top-p); 0 where not mask
    full_logp: np.ndarray  # [B, R] f32: of softmax(logits / temperature), nothing cut off
    group: np.ndarray  # [B] int32: row of prompt_tokens that the sample continues
    stopped: np.ndarray  # [B] bool: ended by a stop token or string, not by the length limit
    task: np.ndarray  # [P] int64: index of the task in its env
    texts: tuple[str, ...] = ()  # [B] responses, stop string cut off
    reward: np.ndarray | None = None  # [B] f32; NaN = unscorable
    version: int = 0  # training step whose parameters sampled it


@struct.dataclass
class Signals:
    """What an advantage estimator may look at. Rows may stand in any order."""

    rewards: Array  # [B] f32; NaN = unscorable
    group: Array  # [B] int32 in [0, num_groups)
    length: Array  # [B] int32: tokens the policy chose
    num_groups: int = struct.field(pytree_node=False)


@struct.dataclass
class Rows:
    """A learner batch: N rows, each a depth-first listing of one or several token trees.

    Key column k is visible to query column q iff k ≤ q and lo_k ≤ lo_q < hi_k. Padding has lo = hi.
    The scored tokens are listed apart, so that prompt tokens never reach the output head.
    """

    tokens: Array  # [N, W] int32
    position: Array  # [N, W] int32: distance from the root of the token's own path
    lo: Array  # [N, W] int32
    hi: Array  # [N, W] int32
    slot: Array  # [N, M] int32: column of the scored token
    parent: Array  # [N, M] int32: column whose hidden state predicts it
    sample: Array  # [N, M] int32: response within the row, in [0, M)
    group: Array  # [N, M] int32: prompt within the row, in [0, M); its responses share the row
    mask: Array  # [N, M] f32: 1 where the token counts in the loss; all below is 0 elsewhere
    old_logp: Array  # [N, M] f32: the proximal policy's
    ref_logp: Array  # [N, M] f32: the reference's; zeros where the loss has no KL term
    adv: Array  # [N, M] f32
    sampler_logp: Array  # [N, M] f32: the sampler's, nothing cut off; zeros outside of RL
    prepared: Array  # [N, M] f32: what a loss needs of the whole batch; zeros if it needs nothing


@struct.dataclass
class TrainState:
    """All that an update changes."""

    step: Array  # [] int32: updates done
    params: dict
    opt: tuple
    skipped: Array  # [] int32: updates left out because a gradient was not finite
