"""Losses on preferences: log-probs of whole responses, or scalar rewards, in; one loss each out.

Arrays are [..] f32, one number a pair (or, for KTO, a response). Log-probs are sums over a
response's tokens, log π(y|x); those of the reference are constants. All return (loss, the implicit
reward of the preferred response, that of the other), so that accuracy and margin mean the same
everywhere. log σ is taken by `jax.nn.log_sigmoid`, finite for any finite argument.
"""

import jax
import jax.numpy as jnp


def bradley_terry(chosen, rejected):
    """The reward model's loss: P(y_w ≻ y_l) = σ(r_w − r_l).

        −log σ(r_w − r_l)

    Ouyang et al. 2022, arXiv:2203.02155, eq. 1, for one pair a prompt.

    chosen, rejected: rewards [..].  returns: (loss, r_w, r_l).
    """
    return -jax.nn.log_sigmoid(chosen - rejected), chosen, rejected


def dpo(chosen, rejected, ref_chosen, ref_rejected, *, beta):
    """Direct preference optimisation: Bradley-Terry on implicit rewards r = β log π/π_ref.

        −log σ(β log π(y_w)/π_ref(y_w) − β log π(y_l)/π_ref(y_l))

    Rafailov et al. 2023, arXiv:2305.18290, eq. 7.

    All [..] f32.  returns: (loss, r_w, r_l).
    """
    return bradley_terry(beta * (chosen - ref_chosen), beta * (rejected - ref_rejected))


def ipo(chosen, rejected, ref_chosen, ref_rejected, *, beta):
    """A squared loss with a target, which does not push a certain preference without end.

        (h − 1/(2τ))²,   h = log π(y_w)/π_ref(y_w) − log π(y_l)/π_ref(y_l),   τ = beta

    Azar et al. 2023, arXiv:2310.12036, eq. 17. Sums over tokens as in the paper (TRL averages).

    All [..] f32.  returns: (loss, τ log π(y_w)/π_ref(y_w), τ log π(y_l)/π_ref(y_l)).
    """
    won, lost = chosen - ref_chosen, rejected - ref_rejected
    return jnp.square(won - lost - 1 / (2 * beta)), beta * won, beta * lost


def kto(logp, ref_logp, good, baseline, *, beta, desirable, undesirable):
    """Prospect-theoretic loss on single responses, no pairs needed.

        λ_D (1 − σ(β (r − z₀))) if desirable,   λ_U (1 − σ(β (z₀ − r))) if not,
        r = log π(y)/π_ref(y),   z₀ ≥ 0 an estimate of KL(π ‖ π_ref), a constant

    Ethayarajh et al. 2024, arXiv:2402.01306, eq. 8 (λ_y − v).

    logp, ref_logp [..]; good [..] bool; baseline: z₀.
    returns: (loss, β (r − z₀), 0): the other response is the baseline itself.
    """
    gain = beta * (logp - ref_logp - jax.lax.stop_gradient(baseline))
    loss = jnp.where(good, desirable * jax.nn.sigmoid(-gain), undesirable * jax.nn.sigmoid(gain))
    return loss, gain, jnp.zeros_like(gain)


def simpo(chosen, rejected, chosen_length, rejected_length, *, beta, gamma):
    """No reference: the mean log-prob is the reward, and a margin must be won.

        −log σ(β/|y_w| log π(y_w) − β/|y_l| log π(y_l) − γ)

    Meng et al. 2024, arXiv:2405.14734, eq. 6.

    All [..] f32, lengths ≥ 1.  returns: (loss, β/|y_w| log π(y_w), β/|y_l| log π(y_l)).
    """
    won, lost = beta * chosen / chosen_length, beta * rejected / rejected_length
    return -jax.nn.log_sigmoid(won - lost - gamma), won, lost


def orpo(chosen, rejected, chosen_length, rejected_length, *, weight):
    """Fine-tuning on the preferred response and an odds ratio against the other, in one.

        −log P(y_w) − λ log σ(log odds(y_w) / odds(y_l)),   odds = P / (1 − P),
        P(y) = exp(1/|y| log π(y))

    Hong et al. 2024, arXiv:2403.07691, eq. 4-7. P is kept below 1 − 1e-6 (our choice): a certain
    response would have infinite odds.

    weight: λ.  All [..] f32, lengths ≥ 1.  returns: (loss, λ log P(y_w), λ log P(y_l)).
    """
    won, lost = chosen / chosen_length, rejected / rejected_length
    gap = _log_odds(won) - _log_odds(lost)
    return -won - weight * jax.nn.log_sigmoid(gap), weight * won, weight * lost


def _log_odds(log_p):
    log_p = jnp.minimum(log_p, -1e-6)  # log1p(−exp(x)) has an infinite slope at 0
    return log_p - jnp.log(-jnp.expm1(log_p))
