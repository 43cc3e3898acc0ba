"""Estimators that compare the samples of a prompt, or of the batch: one advantage a sample, [B].

All of one signature, (signals, c) -> [B] f32. Common to all: an unscorable or invalid sample gets 0
and stays outside of every mean; equal rewards give exactly 0; a group with one scorable sample gets
0, or what its docstring says under singleton "raw".
"""

import jax.numpy as jnp

from jaxrl.ops import advantages, group_advantages


def grpo(signals, c):
    """A_i = (r_i − μ) / (σ + ε) over the samples of a prompt.

    Shao et al. 2024, arXiv:2402.03300, §4.1.2. "raw": r / (1 + ε).
    """
    return _normalise(signals, "group", "group", c)


def dr_grpo(signals, c):
    """A_i = r_i − μ over the samples of a prompt; pair it with `seq_mean_token_sum_norm`.

    Liu et al. 2025, arXiv:2503.20783. "raw": r.
    """
    return _normalise(signals, "group", "none", c)


def rloo(signals, c):
    """A_i = r_i − mean_{j≠i} r_j = n/(n−1) (r_i − μ) over the n scorable samples of a prompt.

    Ahmadian et al. 2024, arXiv:2402.14740. "raw": r.
    """
    return _normalise(signals, "group", "none", c, leave_one_out=True)


def batch_norm_grpo(signals, c):
    """A_i = (r_i − μ) / (σ_batch + ε): mean over the prompt, spread over all prompts.

    Liu et al. 2025, arXiv:2508.08221 (Lite PPO). "raw": r / (σ_batch + ε).
    """
    return _normalise(signals, "group", "batch", c)


def levels(signals, c):
    """A_i = (r_i − μ) / (σ + ε), μ over c.mean_level and σ over c.std_level: group, batch or none.

    leave_one_out: μ over the others. grpo is (group, group), dr_grpo (group, none), rloo (group,
    none, leave_one_out), batch_norm_grpo (group, batch), REINFORCE with a batch baseline (batch,
    batch). "raw": μ = 0, σ = 1 where one scorable sample is all there is.
    """
    return _normalise(signals, c.mean_level, c.std_level, c, leave_one_out=c.leave_one_out)


def maxrl(signals, c):
    """A_i = (r_i − μ) / (μ + ε) over the samples of a prompt; rewards ≥ 0.

    arXiv:2602.02710. 0 where μ ≤ 0; singletons: 0.
    """
    knobs = {"eps": c.knobs["eps"], "zero_std_rel_tol": c.knobs["zero_std_rel_tol"]}
    return group_advantages.per_success(*_rows(signals), **_group(signals), **knobs)


def grpo_passk(signals, c):
    """A_i = (r_max − r_2nd) / (σ + ε) for the best sample of a prompt, 0 for the others.

    arXiv:2503.19595. A shared first place: 0. "raw": r / (1 + ε).
    """
    return group_advantages.best_of_group(*_rows(signals), **_group(signals), **c.knobs)


def opo(signals, c):
    """A_i = r_i − Σ_j l_j r_j / Σ_j l_j over the samples of a prompt, l = chosen tokens.

    arXiv:2505.23585. "raw", or only empty responses: r.
    """
    return group_advantages.length_weighted(
        *_rows(signals), signals.length, **_group(signals), **c.edge
    )


def gpg(signals, c):
    """A_i = α (r_i − μ), α = B / (samples of prompts with a signal), F_norm = 1.

    arXiv:2504.02546. gpg_counts "rewards": α = B / #{r ≠ 0}, as verl counts. "raw": α r.
    """
    adv = dr_grpo(signals, c)
    tolerance = c.knobs["zero_std_rel_tol"]
    return group_advantages.signal_share(
        adv, *_rows(signals), **_group(signals), by=c.gpg_counts, zero_std_rel_tol=tolerance
    )


def gdpo(signals, c):
    """A = whiten(Σ_k w_k A_k), A_k = (r_{i,k} − μ_k) / (σ_k + ε) over the samples of a prompt.

    arXiv:2601.05242. A sample with one unscorable dimension is unscorable. The last step is over
    the batch, by whiten_by: "tokens" (as verl) or "samples".
    """
    count = signals.parts.shape[1]
    if c.weights and len(c.weights) != count:
        raise ValueError(
            f"advantage.weights={c.weights}: Signals.parts has {count} dimensions; give as many, "
            "or () for equal weights"
        )
    ok = _ok(signals, jnp.where(jnp.isfinite(signals.parts).all(axis=1), signals.rewards, jnp.nan))
    one = lambda part: grpo(signals.replace(rewards=part, valid=ok), c)
    parts = [one(signals.parts[:, k]) for k in range(count)]
    total = sum(w * part for w, part in zip(c.weights or (1.0,) * count, parts, strict=True))
    return _whiten(total, ok, signals, c)


def reinforce_plus_plus_baseline(signals, c):
    """A = whiten(r_i − μ): mean over the prompt, then standardised over the batch.

    Hu et al. 2025, arXiv:2501.03262. whiten_by "tokens": a sample weighs by its length. Then the
    batch mean need not be 0, and even equal rewards of a prompt may get an advantage. "raw": μ = 0.
    """
    return _whiten(dr_grpo(signals, c), _ok(signals), signals, c)


def remax(signals, c):
    """A_i = r_i − r(greedy response to the same prompt).

    Li et al. 2023, arXiv:2310.10505. An unscorable greedy response: 0. Compares with no sample.
    """
    ok = _ok(signals) & jnp.isfinite(signals.greedy)
    return jnp.where(ok, signals.rewards - signals.greedy, 0)


def gfpo(signals, c):
    """A_i = (r_i − μ_S) / (σ_S + ε) for the samples S that are kept of a prompt, 0 for the others.

    arXiv:2508.09726. S: the c.keep samples of least length (keep_by "length") or of most reward a
    token ("efficiency"); keep 0 is half of the scorable ones, rounded up (our choice). Equal ones
    stand or fall together, so S may be larger.
    """
    ok, group = _ok(signals), _group(signals)
    per_token = jnp.where(ok, signals.rewards, 0) / jnp.maximum(signals.length, 1)
    metric = {"length": signals.length, "efficiency": -per_token}[c.keep_by]
    count = advantages.sizes(ok, signals.group, signals.num_groups)
    keep = jnp.full_like(count, c.keep) if c.keep else (count + 1) // 2
    kept = group_advantages.smallest(
        metric, ok, signals.group, keep=keep, num_groups=group["num_groups"]
    )
    return grpo(signals.replace(valid=kept), c)


def _rows(signals):
    return signals.rewards, signals.group


def _group(signals):
    return {"num_groups": signals.num_groups, "valid": signals.valid}


def _ok(signals, rewards=None):
    return advantages.scorable(signals.rewards if rewards is None else rewards, signals.valid)


def _normalise(signals, mean_level, std_level, c, **rest):
    levels = {
        "group": (signals.group, signals.num_groups),
        "batch": (jnp.zeros_like(signals.group), 1),
        "none": (None, 0),
    }
    (mean_ids, num_groups), (std_ids, num_std_groups) = levels[mean_level], levels[std_level]
    sizes = {"num_groups": num_groups, "num_std_groups": num_std_groups, "valid": signals.valid}
    return advantages.normalise(signals.rewards, mean_ids, std_ids, **sizes, **c.knobs, **rest)


def _whiten(adv, ok, signals, c):
    weight = {"tokens": signals.length.astype(jnp.float32), "samples": jnp.ones_like(adv)}
    knobs = {k: c.knobs[k] for k in ("ddof", "eps", "zero_std_rel_tol")}
    return advantages.whiten(adv, jnp.where(ok, weight[c.whiten_by], 0), **knobs)
