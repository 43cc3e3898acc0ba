"""Advantages token by token. Tokens that the policy did not choose are stepped over.

Every function gives what it would on the sequence of chosen tokens alone: an observation between
two turns neither discounts nor receives credit (our choice where a paper has no such tokens).
rewards, values, mask: [B, R] f32, mask 1 where the policy chose the token; what lies under a 0 of
the mask may be anything, except that a reward there belongs to the next chosen token before it.
"""

import jax
import jax.numpy as jnp

from jaxrl.ops.recurrence import backward_recurrence


def outcome(rewards, mask):
    """Rewards [B] as token rewards [B, R]: all at the last chosen token. NaN counts as 0."""
    later = jnp.cumsum(mask[:, ::-1], axis=1)[:, ::-1]
    return jnp.where((mask > 0) & (later == 1), _finite(rewards)[:, None], 0)


def settle(rewards, mask):
    """Moves rewards from tokens not chosen to the chosen token before them, where they were earned.

    A reward in front of the first chosen token was not earned and is lost.  [B, R].
    """
    passed = backward_recurrence(1 - mask, jnp.where(mask > 0, 0, rewards))
    return jnp.where(mask > 0, rewards + _after(passed), 0)


def reward_to_go(rewards, mask, *, gamma=1.0):
    """G_t = r_t + γ G_n, n = next chosen token after t.  returns: [B, R], 0 under the mask."""
    step = jnp.where(mask > 0, gamma, 1.0)
    return mask * backward_recurrence(step, jnp.where(mask > 0, rewards, 0))


def gae(rewards, values, mask, *, gamma=1.0, lam=1.0):
    """Generalised advantage estimation.

        δ_t = r_t + γ V_n − V_t,   A_t = δ_t + γλ A_n,   n = next chosen token after t

    Schulman et al. 2016, arXiv:1506.02438, eq. 16; V_n = A_n = 0 after the last.
    returns: [B, R], 0 under the mask.
    """
    values = jnp.where(mask > 0, values, 0)
    delta = jnp.where(mask > 0, rewards + gamma * _next(values, mask) - values, 0)
    return mask * backward_recurrence(jnp.where(mask > 0, gamma * lam, 1.0), delta)


def vtrace(rewards, values, log_ratio, mask, *, gamma=1.0, rho_clip=1.0, c_clip=1.0):
    """Off-policy advantages with truncated importance weights.

        v_t = V_t + δ_t + γ c_t (v_n − V_n),   δ_t = ρ_t (r_t + γ V_n − V_t)
        A_t = ρ_t (r_t + γ v_n − V_t),   ρ_t = min(ρ̄, π/μ),   c_t = min(c̄, π/μ)

    Espeholt et al. 2018, arXiv:1802.01561, eq. 1 and §4.2; n = next chosen token.
    log_ratio: log π − log μ of each token, [B, R].  returns: [B, R], 0 under the mask.
    """
    on = mask > 0
    ratio = jnp.exp(jnp.where(on, log_ratio, 0))
    rho, c = jnp.minimum(ratio, rho_clip), jnp.minimum(ratio, c_clip)
    values = jnp.where(on, values, 0)
    delta = jnp.where(on, rho * (rewards + gamma * _next(values, mask) - values), 0)
    targets = values + mask * backward_recurrence(jnp.where(on, gamma * c, 1.0), delta)
    return jnp.where(on, rho * (rewards + gamma * _next(targets, mask) - values), 0)


def upgo(rewards, values, log_ratio, mask, *, gamma=1.0, rho_clip=1.0):
    """Upgoing policy update: follows a trajectory only while it does better than expected.

        G_t = r_t + γ (G_n if r_n + γ V_m ≥ V_n else V_n),   A_t = ρ_t (G_t − V_t)

    Vinyals et al. 2019, doi:10.1038/s41586-019-1724-z, with ρ_t = min(ρ̄, π/μ); n is the next chosen
    token after t, m the one after n.  returns: [B, R], 0 under the mask.
    """
    on = mask > 0
    values = jnp.where(on, values, 0)
    better = jnp.where(on, rewards + gamma * _next(values, mask) >= values, False)
    follow = gamma * _next(better.astype(jnp.float32), mask)
    bootstrap = rewards + (gamma - follow) * _next(values, mask)
    target = backward_recurrence(jnp.where(on, follow, 1.0), jnp.where(on, bootstrap, 0))
    rho = jnp.minimum(jnp.exp(jnp.where(on, log_ratio, 0)), rho_clip)
    return jnp.where(on, rho * (target - values), 0)


def optimal_baseline(
    returns, logp, squares, mask, group, *, num_groups, ok, ratio=1.0, zero_tail=False, eps=1e-8
):
    """The baseline of least variance at each position, over the samples of a prompt.

        A_t = G_t − B_t,   B_t = Σ_i G_{i,t} W_{i,t} / (Σ_i W_{i,t} + ε)
        W_t = Σ_{j ≤ t} ρ_j² (1 − 2 π_j + Σ_v π_{j,v}²)

    arXiv:2602.07078. The sums at t run over samples that chose a token there. Where one sample has
    outlived the others it would be its own baseline, A = 0; with zero_tail its baseline is 0.
    ok: rows that take part, [B] bool; squares: Σ_v π_v².  returns: [B, R], 0 under the mask.
    """
    on = (mask > 0) & ok[:, None]
    energy = jnp.square(ratio) * (1 - 2 * jnp.exp(jnp.where(on, logp, 0)) + squares)
    weight = jnp.where(on, jnp.cumsum(jnp.where(on, energy, 0), axis=1), 0)
    returns = jnp.where(on, returns, 0)
    total = lambda x: jax.ops.segment_sum(x, group, num_groups)
    baseline = total(weight * returns) / (total(weight) + eps)
    if zero_tail:
        alive = jnp.cumsum(on[:, ::-1], axis=1)[:, ::-1] > 0
        baseline = jnp.where(total(alive.astype(jnp.float32)) > 1, baseline, 0)
    return jnp.where(on, returns - baseline[group], 0)


def compact(mask, *arrays):
    """The chosen tokens of each row moved to its front: (new mask, new arrays), [B, R] each."""
    order = jnp.argsort(mask <= 0, axis=1, stable=True)
    take = lambda x: jnp.take_along_axis(x, order, axis=1)
    return take(mask), *map(take, arrays)


def spread_out(x, mask):
    """Undoes `compact`: values at the front of each row go to its chosen tokens, 0 elsewhere."""
    place = jnp.maximum(jnp.cumsum(mask, axis=1).astype(jnp.int32) - 1, 0)
    return jnp.where(mask > 0, jnp.take_along_axis(x, place, axis=1), 0)


def _next(x, mask):
    """x at the next chosen token strictly after t, 0 if there is none."""
    return _after(backward_recurrence(1 - mask, mask * x))


def _after(x):
    return jnp.pad(x[:, 1:], ((0, 0), (0, 1)))


def _finite(x):
    return jnp.where(jnp.isfinite(x), x, 0)
