"""Estimators that go token by token: (signals, c) -> [B, R] f32, 0 at tokens not chosen.

Common to all: without token_rewards the outcome stands at the last chosen token; a sample whose
outcome is unscorable or invalid gets 0 everywhere; observation tokens are stepped over, and a
reward given there goes to the chosen token before.
"""

import jax.numpy as jnp

from jaxrl.ops import advantages, token_advantages


def reinforce_plus_plus(signals, c):
    """A = whiten(G_t), G_t = r_t + γ G_{t+1}: standardised over all tokens of the batch.

    Hu et al. 2025, arXiv:2501.03262. A batch of equal returns: 0.
    """
    rewards, mask, ok = _tokens(signals)
    returns = token_advantages.reward_to_go(rewards, mask, gamma=c.gamma)
    return _standard(returns, mask * ok[:, None], c)


def gae(signals, c):
    """A_t = δ_t + γλ A_{t+1}, δ_t = r_t + γ V_{t+1} − V_t.

    Schulman et al. 2016, arXiv:1506.02438, eq. 16. With `whiten`, then standardised as verl does.
    Without a critic (values 0) it is the return, discounted by γλ.
    """
    rewards, mask, ok = _tokens(signals)
    adv = token_advantages.gae(rewards, signals.values, mask, gamma=c.gamma, lam=c.lam)
    return _finish(adv, mask, ok, c)


def vtrace(signals, c):
    """A_t = ρ_t (r_t + γ v_{t+1} − V_t), v the V-trace targets.

    Espeholt et al. 2018, arXiv:1802.01561, §4.2; ρ̄ = rho_clip, c̄ = c_clip.
    """
    rewards, mask, ok = _tokens(signals)
    knobs = {"gamma": c.gamma, "rho_clip": c.rho_clip, "c_clip": c.c_clip}
    adv = token_advantages.vtrace(rewards, signals.values, signals.log_ratio, mask, **knobs)
    return _finish(adv, mask, ok, c)


def upgo(signals, c):
    """A_t = ρ_t (G_t − V_t), where G follows the trajectory while it beats the values.

    Vinyals et al. 2019, doi:10.1038/s41586-019-1724-z; ρ̄ = rho_clip.
    """
    rewards, mask, ok = _tokens(signals)
    knobs = {"gamma": c.gamma, "rho_clip": c.rho_clip}
    adv = token_advantages.upgo(rewards, signals.values, signals.log_ratio, mask, **knobs)
    return _finish(adv, mask, ok, c)


def optimal_token_baseline(signals, c):
    """A_t = G_t − B_t, B_t = Σ_i G W / Σ_i W over the samples of a prompt at column t.

    arXiv:2602.07078, with W_t = Σ_{j≤t} (1 − 2π_j + Σ_v π_v²), times ρ² if log_ratio is given. One
    sample is its own baseline: 0, or G_t with singleton "raw". zero_tail: the same at positions
    that a single sample has reached.
    """
    rewards, mask, ok = _tokens(signals)
    returns = token_advantages.reward_to_go(rewards, mask, gamma=c.gamma)
    ratio = _ratio(signals, mask)
    return _baseline(signals, c, returns, signals.logp, signals.squares, ratio, mask, ok)


def tir_optimal_token_baseline(signals, c):
    """As optimal_token_baseline, with positions counted in chosen tokens: turns are joined up.

    arXiv:2602.07078 for tool use. Equal to it where all chosen tokens stand at the front.
    """
    rewards, mask, ok = _tokens(signals)
    returns = token_advantages.reward_to_go(rewards, mask, gamma=c.gamma)
    arrays = returns, signals.logp, signals.squares, _ratio(signals, mask)
    front, *arrays = token_advantages.compact(mask, *arrays)
    return token_advantages.spread_out(_baseline(signals, c, *arrays, front, ok), mask)


def _tokens(signals):
    """Token rewards and mask, [B, R] f32, and which samples count, [B] bool."""
    ok = advantages.scorable(signals.rewards, signals.valid)
    mask = signals.mask.astype(jnp.float32)
    if signals.token_rewards is None:
        return token_advantages.outcome(signals.rewards, mask), mask, ok
    return token_advantages.settle(signals.token_rewards, mask), mask, ok


def _ratio(signals, mask):
    if signals.log_ratio is None:
        return jnp.ones_like(mask)
    return jnp.exp(jnp.where(mask > 0, signals.log_ratio, 0))


def _baseline(signals, c, returns, logp, squares, ratio, mask, ok):
    adv = token_advantages.optimal_baseline(
        returns,
        logp,
        squares,
        mask,
        signals.group,
        num_groups=signals.num_groups,
        ok=ok,
        ratio=ratio,
        zero_tail=c.zero_tail,
    )
    alone = (advantages.sizes(ok, signals.group, signals.num_groups) == 1)[signals.group]
    lone = jnp.where(ok[:, None] & (mask > 0), returns, 0) if c.edge["singleton"] == "raw" else 0
    return jnp.where(alone[:, None], lone, adv)


def _finish(adv, mask, ok, c):
    mask = mask * ok[:, None]
    return _standard(adv, mask, c) if c.whiten else jnp.where(mask > 0, adv, 0)


def _standard(x, weight, c):
    knobs = {k: c.knobs[k] for k in ("ddof", "eps", "zero_std_rel_tol")}
    return advantages.whiten(x, weight, **knobs)
