"""Estimators for agents: rounds, environments, tournaments, plans and evidence. [B] each.

Signature, unscorable samples and singletons as in group_estimators.py. Some papers also take tokens
or samples out of the loss; those masks are the `*_in_loss` functions: (signals, c) -> bool, [B, 1]
or [B, R].
"""

import jax.numpy as jnp

from jaxrl.algos import group_estimators
from jaxrl.ops import advantages, discounts, evidence, group_advantages


def gigpo(signals, c):
    """A = A^E + ω A^S: the episode among those of its prompt, the step among those of its state.

        A^E_i = (R_i − μ) / (σ + ε) over the rollouts of a prompt, each counted once
        A^S_i = (R_t − μ) / (σ + ε) over the rows that start from the same state

    Feng et al. 2025, arXiv:2505.10978, eq. 3, 7, 8. R_t is `returns`; ω = step_weight. std_level
    "none" leaves σ out. Round 1 of each rollout must be in the batch: it is what counts it.
    """

    def among(rewards, ids, n, **rows):
        spread = ids if c.std_level == "group" else None
        sizes = {"num_groups": n, "num_std_groups": n}
        return advantages.normalise(rewards, ids, spread, **sizes, **rows, **c.knobs)

    first = {"valid": signals.valid, "counted": signals.round == 1}
    episode = among(signals.rewards, signals.group, signals.num_groups, **first)
    ok = advantages.scorable(signals.rewards, signals.valid)
    step = among(signals.returns, signals.state, signals.num_states, valid=ok)
    return episode + c.step_weight * step


def erpo(signals, c):
    """A_ij = (R_ij − μ_question) / (σ_environment + ε), the spread pooled over its questions.

    AutoForge, arXiv:2512.22857, eq. 3 and 4. Samples with a user's error (valid False) and
    questions of equal outcomes are out of every statistic and of the loss; that σ is taken after
    the questions are dropped is our choice, as is ddof.
    """
    return advantages.normalise(
        signals.rewards,
        signals.group,
        signals.env,
        num_groups=signals.num_groups,
        num_std_groups=signals.num_envs,
        valid=_mixed(signals, c),
        **c.knobs,
    )


def erpo_in_loss(signals, c):
    """The samples that ERPO's loss is divided by: scorable, valid, of a mixed question.  [B, 1]."""
    return _mixed(signals, c)[:, None]


def efficiency_eapo(signals, c):
    """A_{i,t} = (r_{i,t} − μ) / (σ + ε), r_{i,t} = γ^(T−t) R, over all rounds of a question.

    IterResearch, arXiv:2511.07327, eq. 3 and §3.3; γ = round_gamma. As printed, a question whose
    rollouts are all right does not vanish: its early rounds are pushed down for being early.
    all_correct "zero" silences such questions; "keep" is the paper. multiple: rows are left out of
    the loss at random until their number is a multiple of it, the data-parallel size (eq. 4).
    """
    rewards = discounts.round_rewards(
        signals.rewards, signals.round, signals.rounds, gamma=c.round_gamma
    )
    adv = group_estimators.grpo(signals.replace(rewards=rewards), c)
    return adv if c.all_correct == "keep" else jnp.where(_mixed(signals, c), adv, 0)


def efficiency_in_loss(signals, c):
    """The scorable rows, down-sampled to a multiple of c.multiple, [B, 1]; None (all rows) at 1."""
    if c.multiple == 1:
        return None
    ok = advantages.scorable(signals.rewards, signals.valid)
    return discounts.keep_multiple(signals.lot, ok, c.multiple)[:, None]


def evidence_eapo(signals, c):
    """GRPO on R_i = w_f + w_a R_a,i + β ŝ_i where the format is valid, 0 where it is not.

    arXiv:2601.10306; w_f = format_weight, w_a = outcome_weight, β = evidence_weight, ŝ by
    evidence_mode. A wrong answer never outdoes a right one by its evidence: settings that would
    allow it are refused. Invalid formats have no ŝ but stay in the group.
    """
    rewards = evidence.evidence_rewards(
        signals.rewards,
        signals.evidence,
        signals.formatted,
        signals.group,
        num_groups=signals.num_groups,
        mode=c.evidence_mode,
        evidence=c.evidence_weight,
        correct=c.outcome_weight,
        formatted=c.format_weight,
    )
    return group_estimators.grpo(signals.replace(rewards=rewards), c)


def arena(signals, c):
    """A_i = (q_i − μ) / (σ + ε), q_i = 1 − rank_i / (N − 1), over the ranked samples of a prompt.

    ArenaRL, arXiv:2601.06487, eq. 6 and 7, with the sample σ and ε = 1e-6 of its code. The rewards
    themselves are not read.
    """
    rewards = group_advantages.rank_rewards(
        signals.rank, signals.group, num_groups=signals.num_groups, valid=signals.valid
    )
    return group_estimators.grpo(signals.replace(rewards=rewards), c)


def anchor_plan(signals, c):
    """GRPO on the rubric score of the plan; only the first step's tokens are in the loss.

    WebAnchor, arXiv:2601.03164, stage 1; the loss mask is our reading.
    """
    return group_estimators.grpo(signals.replace(rewards=signals.plan), c)


def anchor_execution(signals, c):
    """GRPO on the outcome; the tokens of later steps are in the loss.

    WebAnchor, arXiv:2601.03164, stage 2. execution_tokens "later" leaves the plan alone, "all"
    trains it too; the paper does not say which.
    """
    return group_estimators.grpo(signals, c)


def first_step_grpo(signals, c):
    """GRPO on the outcome; only the first step's tokens are in the loss.

    The baseline of WebAnchor, arXiv:2601.03164; our reading of its name.
    """
    return group_estimators.grpo(signals, c)


def first_step_in_loss(signals, c):
    """The tokens of the first assistant step.  [B, R]."""
    return signals.turn == 1


def execution_in_loss(signals, c):
    """The tokens of later steps, or all.  [B, R]."""
    return signals.turn > {"later": 1, "all": 0}[c.execution_tokens]


def _mixed(signals, c):
    """Scorable samples of groups whose outcomes differ.  [B] bool."""
    tolerance = {"valid": signals.valid, "zero_std_rel_tol": c.knobs["zero_std_rel_tol"]}
    flat = advantages.zero_variance(signals.rewards, signals.group, signals.num_groups, **tolerance)
    return advantages.scorable(signals.rewards, signals.valid) & ~flat[signals.group]
