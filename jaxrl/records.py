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

    Of a batch that several processes share, each has its own part; see rollouts.collect.everyone.

    Three masks: `valid` (a real token, whoever wrote it), `mask` (the policy chose it), `Rows.mask`
    (in the loss).
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
    failure: np.ndarray | None = None  # [B] str: why there is no reward (envs.base.Failure), or ""
    version: np.ndarray | None = None  # [P] int64: updates done by the weights that sampled it
    step: int = 0  # the update it is for; step − version = its staleness
    squares: np.ndarray | None = None  # [B, R] f32: Σ_v π_v² where each token was drawn, if asked
    greedy: np.ndarray | None = None  # [B] f32: reward of the prompt's greedy response, if asked
    turn: np.ndarray | None = None  # [B, R] int32 from 1, where valid: the reply a token is part of
    # or, of what the world says, comes behind


@struct.dataclass
class Signals:
    """What an advantage estimator may look at. Rows may stand in any order.

    A row is a sample or, where rollouts have rounds that are trained on apart, one round of one. An
    estimator names the optional fields it needs; None = not given. NaN = unscorable, everywhere.
    """

    rewards: Array  # [B] f32
    group: Array  # [B] int32 in [0, num_groups): the prompt
    length: Array  # [B] int32: tokens the policy chose
    num_groups: int = struct.field(pytree_node=False)

    valid: Array | None = None  # [B] bool: False = out of every statistic, such as a user's error
    parts: Array | None = None  # [B, K] f32: the reward by dimension
    greedy: Array | None = None  # [B] f32: reward of the greedy response to the same prompt
    rank: Array | None = None  # [B] int32, 0 = best of its group, negative = not ranked; shared
    # places averaged, then f32
    plan: Array | None = None  # [B] f32 in [0, 1]: rubric score of the plan
    evidence: Array | None = None  # [B] f32 from 1 to 5: the evidence judge's score
    formatted: Array | None = None  # [B] bool: the response has the form it must have

    env: Array | None = None  # [B] int32 in [0, num_envs): the environment of the prompt
    state: Array | None = None  # [B] int32 in [0, num_states): what the row's round starts from;
    # equal ids = the same state of the same prompt
    round: Array | None = None  # [B] int32 from 1: place of the row in its rollout
    rounds: Array | None = None  # [B] int32: rounds of that rollout
    returns: Array | None = None  # [B] f32: discounted return from the row's round on
    lot: Array | None = None  # [B] f32 in [0, 1): a draw, for rows that are left out at random

    mask: Array | None = None  # [B, R] bool: the policy chose the token
    turn: Array | None = None  # [B, R] int32 from 1: the assistant step a token belongs to
    token_rewards: Array | None = None  # [B, R] f32; None = `rewards` at the last chosen token
    values: Array | None = None  # [B, R] f32: V before the token is chosen
    log_ratio: Array | None = None  # [B, R] f32: log π − log μ, of the learner over the sampler
    logp: Array | None = None  # [B, R] f32: log π of the token
    squares: Array | None = None  # [B, R] f32: Σ_v π_v² over the vocabulary
    num_envs: int = struct.field(pytree_node=False, default=0)
    num_states: int = struct.field(pytree_node=False, default=0)


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
    balance: Array | None = None  # [E] f32: slope of the routers' balance loss, if one is added


@struct.dataclass
class TrainState:
    """All that an update changes."""

    step: Array  # [] int32: updates done
    params: dict  # what is trained: the model's parameters, or adapters of a frozen model
    opt: tuple
    skipped: Array  # [] int32: updates left out because a gradient was not finite
