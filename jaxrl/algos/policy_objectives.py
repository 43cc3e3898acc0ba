"""The functions of `algos.objectives.OBJECTIVES`, and what some of them need of the whole batch.

    (sum, stats) = f(logp, entropy, rows, c)

logp, entropy: [N, M] f32 of the present policy; junk is allowed where rows.mask is 0. c: an
ObjectiveConfig. Formulas and edge cases stand with the kernels in `ops/`.
"""

import jax
import jax.numpy as jnp

from jaxrl.ops import aggregations, corrections, kl, policy_losses, ratios, selections


def ppo_clip(logp, entropy, rows, c):
    """−Σ w_t min(ρ_t A_t, clip(ρ_t, 1−ε_low, 1+ε_high) A_t), w_t by c.aggregation.

    Schulman et al. 2017, arXiv:1707.06347, eq. 7, with the ratio c.ratio and a dual clip. GRPO is
    aggregation "seq_mean_token_mean" with kl_coef 0.04 (arXiv:2402.03300, eq. 3). "dapo"
    (arXiv:2503.14476, eq. 8: ε_high 0.28, token mean), "dr_grpo" (arXiv:2503.20783: the sum of a
    response over L_max) and "bnpo" (TRL's token mean over the batch; here over the whole one) are
    this function with those defaults.
    """
    ratio = RATIOS[c.ratio](logp, rows.old_logp, rows.mask, rows.sample)
    value, clipped = policy_losses.clipped_surrogate(
        ratio, _adv(rows), eps_low=c.eps_low, eps_high=c.eps_high, dual_clip=c.dual_clip
    )
    return _sums(value, logp, entropy, rows, c, {"policy/clip_fraction": clipped})


def gspo(logp, entropy, rows, c):
    """The clipped objective with one ratio a response, averaged over responses.

    Zheng et al. 2025, arXiv:2507.18071, eq. 5 (ratio "sequence") and eq. 13 ("sequence_token").
    Ratios of whole responses stay near 1: the paper clips at 3e-4 below and 4e-4 above. As
    ppo_clip; the name only insists on the settings the paper has.
    """
    return ppo_clip(logp, entropy, rows, c)


def two_sided_clip(logp, entropy, rows, c):
    """The clipped objective with the ratio capped at δ where A < 0: the dual clip with c = δ.

    Prime Intellect 2025, arXiv:2505.07291 (INTELLECT-2; they take δ = 4). δ must exceed 1 + ε_high.
    """
    ratio = RATIOS[c.ratio](logp, rows.old_logp, rows.mask, rows.sample)
    value, clipped = policy_losses.clipped_surrogate(
        ratio, _adv(rows), eps_low=c.eps_low, eps_high=c.eps_high, dual_clip=c.delta
    )
    return _sums(value, logp, entropy, rows, c, {"policy/clip_fraction": clipped})


def decoupled_ppo(logp, entropy, rows, c):
    """The clipped objective around a proximal policy, weighted by where samples came from.

        −Σ w_t (π_prox / μ)(y_t) min(ρ_t A_t, clip(ρ_t, ..) A_t),   ρ_t = (π / π_prox)(y_t)

    Hilton et al. 2021, arXiv:2110.00641; for LLMs AReaL, arXiv:2505.24298, eq. 5. The proximal
    policy is rows.old_logp, of the learner before the update; μ is rows.sampler_logp. No cap.
    """
    ratio = RATIOS[c.ratio](logp, rows.old_logp, rows.mask, rows.sample)
    value, clipped = policy_losses.clipped_surrogate(
        ratio, _adv(rows), eps_low=c.eps_low, eps_high=c.eps_high, dual_clip=c.dual_clip
    )
    weight = ratios.token_ratio(rows.old_logp, rows.sampler_logp, rows.mask)
    extra = {"policy/clip_fraction": clipped, "correction/weight": weight}
    return _sums(weight * value, logp, entropy, rows, c, extra)


def cispo(logp, entropy, rows, c):
    """−Σ w_t sg[clip(ρ_t, 1−ε_low, 1+ε_high)] A_t log π(y_t): `ops.policy_losses.clipped_weight`.

    arXiv:2506.13585, eq. 4. eps_low 1 (the default) has no lower bound, as TRL; verl is 0.2, 0.2.
    """
    ratio = ratios.token_ratio(logp, rows.old_logp, rows.mask)
    value, clipped = policy_losses.clipped_weight(
        _own(logp, rows), ratio, _adv(rows), eps_low=c.eps_low, eps_high=c.eps_high
    )
    return _sums(value, logp, entropy, rows, c, {"policy/clip_fraction": clipped})


def gpg(logp, entropy, rows, c):
    """−Σ w_t A_t log π(y_t): the plain policy gradient, without a ratio.

    Chu et al. 2025, arXiv:2504.02546. Later epochs on a batch are biased: nothing corrects them.
    """
    return _sums(_adv(rows) * _own(logp, rows), logp, entropy, rows, c, {})


def sapo(logp, entropy, rows, c):
    """−Σ w_t (4/τ) σ(τ (ρ_t − 1)) A_t: `ops.policy_losses.soft_gate`, arXiv:2511.20347."""
    ratio = ratios.token_ratio(logp, rows.old_logp, rows.mask)
    value = policy_losses.soft_gate(ratio, _adv(rows), tau_pos=c.tau_pos, tau_neg=c.tau_neg)
    return _sums(value, logp, entropy, rows, c, {})


def gmpo(logp, entropy, rows, c):
    """The geometric mean of a response's ratios: `ops.policy_losses.geometric_mean`.

    arXiv:2507.20673. eps_low and eps_high bound log ρ. With another aggregation than
    seq_mean_token_mean, responses weigh as that one says.
    """
    log_rho = ratios.log_ratio(logp, rows.old_logp, rows.mask)
    value, clipped = policy_losses.geometric_mean(
        log_rho, _adv(rows), rows.mask, rows.sample, eps_low=c.eps_low, eps_high=c.eps_high
    )
    return _sums(value, logp, entropy, rows, c, {"policy/clip_fraction": clipped})


def clip_cov(logp, entropy, rows, c):
    """PPO's clip, and no gradient from a few tokens drawn among those of high covariance.

    Cui et al. 2025, arXiv:2505.22617 (Clip-Cov): `select_clip_cov` draws, over the whole batch.
    """
    ratio = ratios.token_ratio(logp, rows.old_logp, rows.mask)
    value, clipped = policy_losses.clipped_surrogate(
        ratio, _adv(rows), eps_low=c.eps_low, eps_high=c.eps_high
    )
    dropped = rows.prepared
    extra = {"policy/clip_fraction": jnp.maximum(clipped, dropped), "policy/selected": dropped}
    return _sums(value * (1 - dropped), logp, entropy, rows, c, extra)


def kl_cov(logp, entropy, rows, c):
    """−Σ w_t (ρ_t A_t − β |log ρ_t| on the tokens of highest covariance).

    Cui et al. 2025, arXiv:2505.22617 (KL-Cov), with |log ρ| for the KL as in their code;
    `select_kl_cov` ranks over the whole batch.
    """
    log_rho = ratios.log_ratio(logp, rows.old_logp, rows.mask)
    penalty = c.cov_coef * rows.prepared * ratios.absolute(log_rho)
    value = jnp.exp(log_rho) * _adv(rows) - penalty
    return _sums(value, logp, entropy, rows, c, {"policy/selected": rows.prepared})


def dppo_tv(logp, entropy, rows, c):
    """DPPO with the binary total variation: `ops.policy_losses.divergence_proximal`.

    arXiv:2602.04879. eps_low and eps_high bound p − q itself; max_ratio is C.
    """
    return _dppo("tv", logp, entropy, rows, c)


def dppo_kl(logp, entropy, rows, c):
    """DPPO with the binary KL; eps_low and eps_high bound it, by the sign of the advantage."""
    return _dppo("kl", logp, entropy, rows, c)


def dro(logp, entropy, rows, c):
    """−Σ w_t (A_t log π(y_t) − β/2 (log ρ_t)²): `ops.policy_losses.quadratic`, arXiv:2405.19107."""
    log_rho = ratios.log_ratio(logp, rows.old_logp, rows.mask)
    value = policy_losses.quadratic(_own(logp, rows), log_rho, _adv(rows), beta=c.beta)
    return _sums(value, logp, entropy, rows, c, {})


def sft(logp, entropy, rows, c):
    """−Σ w_t log π(y_t): the negative log-likelihood; advantages and old log-probs are not read."""
    means = {"policy/entropy": jnp.where(rows.mask > 0, entropy, 0)}
    return _weighed(-_own(logp, rows), rows, c, means)


def select_entropy(logp, entropy, rows, c):
    """1 at the share c.top_entropy of the whole batch's tokens with the highest entropy.

    Wang et al. 2025, arXiv:2506.01939, eq. 6 (they take 0.2, of a micro-batch).
    """
    on = rows.mask > 0
    return selections.top(entropy, on, selections.share(rows.mask, c.top_entropy))


def select_clip_cov(logp, entropy, rows, c):
    """1 at a share of tokens drawn where covariance lies in (cov_low, cov_high) and no clip bites.

    The draw depends on the batch's tokens alone (`ops.selections.draws`).
    """
    own, adv = _own(logp, rows), _adv(rows)
    moved = selections.covariance(own, adv, rows.mask)
    ratio = ratios.token_ratio(logp, rows.old_logp, rows.mask)
    _, clipped = policy_losses.clipped_surrogate(ratio, adv, eps_low=c.eps_low, eps_high=c.eps_high)
    among = (c.cov_low < moved) & (moved < c.cov_high) & (clipped == 0) & (rows.mask > 0)
    score = selections.draws(rows.tokens, rows.mask)
    return selections.top(score, among, selections.share(rows.mask, c.cov_share))


def select_kl_cov(logp, entropy, rows, c):
    """1 at the share c.cov_share of the whole batch's tokens with the highest covariance."""
    moved = selections.covariance(_own(logp, rows), _adv(rows), rows.mask)
    return selections.top(moved, rows.mask > 0, selections.share(rows.mask, c.cov_share))


RATIOS = {
    "token": lambda logp, old_logp, mask, sample: ratios.token_ratio(logp, old_logp, mask),
    "sequence": ratios.sequence_ratio,
    "sequence_token": ratios.sequence_token_ratio,
}


def _dppo(kind, logp, entropy, rows, c):
    old = _own(rows.old_logp, rows)
    ratio = ratios.token_ratio(logp, rows.old_logp, rows.mask)
    knobs = {"kind": kind, "eps_low": c.eps_low, "eps_high": c.eps_high, "max_ratio": c.max_ratio}
    value, dropped = policy_losses.divergence_proximal(
        _own(logp, rows), old, ratio, _adv(rows), **knobs
    )
    return _sums(value, logp, entropy, rows, c, {"policy/clip_fraction": dropped})


def _own(logp, rows):
    return jnp.where(rows.mask > 0, logp, 0)


def _adv(rows):
    return jnp.where(rows.mask > 0, rows.adv, 0)


def _sums(value, logp, entropy, rows, c, extra):
    """Corrects the objective, adds the KL and entropy terms. extra: more statistics, [N, M] each.

    The KL and entropy terms take part neither in the correction nor in the choice of tokens.
    """
    entropy = jnp.where(rows.mask > 0, entropy, 0)
    # The tokens were sampled from the old policy, so this is KL(old ‖ new).
    means = {"policy/kl": kl.kl(rows.old_logp, logp, rows.mask, "k3"), "policy/entropy": entropy}
    means |= extra
    if c.correction not in (None, "none"):
        weight, cut = _correction(logp, rows, c)
        value = value * weight
        means |= {"correction/weight": weight, "correction/cut": cut}
    if c.top_entropy is not None and c.top_entropy < 1:
        value = value * rows.prepared
        means["policy/selected"] = rows.prepared
    loss = -value
    if c.kl_coef:
        ref_kl = kl.kl(logp, rows.ref_logp, rows.mask, c.kl_form, limit=c.kl_limit)
        means["policy/ref_kl"] = ref_kl
        loss = loss + c.kl_coef * ref_kl
    if c.entropy_coef:
        loss = loss - c.entropy_coef * entropy
    return _weighed(loss, rows, c, means)


def _correction(logp, rows, c):
    sg, mask = jax.lax.stop_gradient, rows.mask
    log_w = ratios.log_ratio(rows.old_logp, rows.sampler_logp, mask)
    drift = ratios.log_ratio(rows.sampler_logp, sg(logp), mask)
    bounds = {"low": c.correction_low, "high": c.correction_high}
    weigh = corrections.CORRECTIONS[c.correction]
    return weigh(log_w, drift, _adv(rows), mask, rows.sample, **bounds)


def _weighed(loss, rows, c, means):
    """Sums by c.aggregation; statistics are averages whatever the loss is."""
    weigh = lambda name: aggregations.AGGREGATIONS[name](
        rows.mask, rows.sample, rows.group, max_length=c.max_length
    )
    weight, divisor = weigh(c.aggregation)
    average, total = weigh(aggregations.AVERAGES[c.aggregation])
    stats = {key: (average * x).sum() for key, x in means.items()} | {"weight": total}
    if c.aggregation == "token_sum":
        stats["divisor"] = divisor  # the loss alone is not divided
    return (weight * loss).sum(), stats
