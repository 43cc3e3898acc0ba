"""Losses on the order of a list of documents: scores and relevance in, (sum, stats of sums) out.

Arrays are [N, K]: N lists of K documents. A higher score and a higher relevance are better; ranks
(1 = best) enter as relevance = −rank. mask_NK is True where there is a document: what lies under it
may be anything, and a list without any has no weight. Left out on purpose: losses on whole batches
of lists, which are in `contrastive_losses`.
"""

import jax
import jax.numpy as jnp

NEVER = -1e30  # a score in the place of −∞, whose differences would be NaN


def rank_net(scores_NK, relevance_NK, mask_NK, *, temperature=0.1):
    """Each pair in the right order: the mean over all pairs of the batch, not over lists.

        log(1 + exp((s_k − s_j)/τ))        for every pair with y_j > y_k

    Burges et al. 2005 (ICML); E2Rank, arXiv:2510.22733, eq. 3 with τ = 0.1, whose printed sign is
    turned round: this is its code's, and so is the mean over valid pairs.

    returns: (sum over pairs, stats); weight and accuracy count pairs.
    """
    scores_NK, relevance_NK = _cleared(mask_NK, scores_NK, relevance_NK)
    pair_NKK = _pairs(relevance_NK, mask_NK)
    gap_NKK = _differences(scores_NK) / temperature
    total = jnp.where(pair_NKK, jax.nn.softplus(-gap_NKK), 0).sum()
    return total, {"weight": _count(pair_NKK), "accuracy": _count(pair_NKK & (gap_NKK > 0))}


def list_net(scores_NK, target_NK, mask_NK, *, temperature=1.0, target_temperature=1.0):
    """Cross-entropy between the chances of each document to come first.

        −Σ_i p_i log q_i,   p = softmax(y/τ_y),   q = softmax(s/τ)

    Cao et al. 2007 (ICML), with the top-one probabilities. target_NK is a constant.

    returns: (sum over lists, stats); weight and accuracy (the target's best comes first) in lists.
    """
    scores_NK, target_NK = _cleared(mask_NK, scores_NK, target_NK)
    open_ = lambda x: jnp.where(mask_NK, x, NEVER)
    logq_NK = jax.nn.log_softmax(open_(scores_NK / temperature))
    p_NK = jax.nn.softmax(open_(jax.lax.stop_gradient(target_NK) / target_temperature))
    lists_N = mask_NK.any(1)
    first_N = open_(scores_NK).argmax(1) == open_(target_NK).argmax(1)
    total = -jnp.where(mask_NK, p_NK * logq_NK, 0).sum()
    return total, {"weight": _count(lists_N), "accuracy": _count(lists_N & first_N)}


def list_mle(scores_NK, relevance_NK, mask_NK, *, temperature=1.0):
    """Log-likelihood of the right order under Plackett-Luce: the best first, then the next, ...

        −Σ_i log( exp(s_π(i)/τ) / Σ_{j≥i} exp(s_π(j)/τ) ),   π sorts by y, best first

    Xia et al. 2008 (ICML). Equal relevance keeps the order given (our choice).

    returns: (sum over lists, stats); weight in lists.
    """
    scores_NK, relevance_NK = _cleared(mask_NK, scores_NK, relevance_NK)
    order_NK = jnp.argsort(jnp.where(mask_NK, -relevance_NK, jnp.inf), axis=1)
    sort = lambda x: jnp.take_along_axis(x, order_NK, 1)
    there_NK, s_NK = sort(mask_NK), sort(scores_NK / temperature)
    rest_NK = jax.lax.cumlogsumexp(jnp.where(there_NK, s_NK, NEVER), axis=1, reverse=True)
    total = jnp.where(there_NK, rest_NK - s_NK, 0).sum()
    return total, {"weight": _count(mask_NK.any(1))}


def lambda_loss(scores_NK, relevance_NK, mask_NK, *, temperature=1.0, mu=0.0):
    """RankNet, each pair weighed by what swapping it would do to nDCG.

        −Σ_{y_i>y_j} (ρ_ij + μ δ_ij) |G_i − G_j| log₂ σ((s_i − s_j)/τ)
            ρ_ij = |1/D_i − 1/D_j|,   δ_ij = |1/D(|r_i−r_j|) − 1/D(|r_i−r_j|+1)|
            G_i = (2^y_i − 1) / maxDCG,   D(r) = log₂(1 + r),   r_i: rank of s_i, a constant

    Wang et al. 2018 (CIKM): μ = 0 is LambdaRank, μ > 0 is NDCG-Loss2++ (sentence-transformers takes
    10). relevance_NK: grades ≥ 0, as nDCG's.

    returns: (sum over lists, stats); weight in lists with a pair.
    """
    scores_NK, relevance_NK = _cleared(mask_NK, scores_NK, relevance_NK)
    pair_NKK = _pairs(relevance_NK, mask_NK)
    weight_NKK = jax.lax.stop_gradient(_swap(scores_NK, relevance_NK, mask_NK, mu))
    loss_NKK = -jax.nn.log_sigmoid(_differences(scores_NK) / temperature) / jnp.log(2.0)
    total = jnp.where(pair_NKK, weight_NKK * loss_NKK, 0).sum()
    return total, {"weight": _count(pair_NKK.any((1, 2)))}


def margin_mse(scores_NK, teacher_NK, mask_NK):
    """A teacher's margins between the positive, the first of a list, and each negative.

        ((s⁺ − s⁻) − (t⁺ − t⁻))²

    Hofstätter et al. 2020, arXiv:2010.02666.

    returns: (sum over negatives, stats); weight counts negatives. No positive, no weight.
    """
    scores_NK, teacher_NK = _cleared(mask_NK, scores_NK, teacher_NK)
    found_NK = mask_NK[:, 1:] & mask_NK[:, :1]
    margin = lambda x: x[:, :1] - x[:, 1:]
    error_NK = margin(scores_NK) - jax.lax.stop_gradient(margin(teacher_NK))
    return jnp.where(found_NK, jnp.square(error_NK), 0).sum(), {"weight": _count(found_NK)}


def _cleared(mask_NK, *arrays):
    """f32 with zeros under the mask: NaN there would come back as a gradient."""
    return [jnp.where(mask_NK, x.astype(jnp.float32), 0) for x in arrays]


def _differences(x_NK):
    return x_NK[:, :, None] - x_NK[:, None, :]


def _pairs(relevance_NK, mask_NK):
    """True at [n, j, k] where document j should stand before document k."""
    return (_differences(relevance_NK) > 0) & mask_NK[:, :, None] & mask_NK[:, None, :]


def _swap(scores_NK, relevance_NK, mask_NK, mu):
    """(ρ + μ δ) |G_i − G_j| of `lambda_loss`, [N, K, K]."""
    discount = lambda rank: 1 / jnp.log2(1 + rank)
    place = jnp.arange(1.0, mask_NK.shape[1] + 1)
    gain_NK = jnp.where(mask_NK, jnp.exp2(relevance_NK) - 1, 0)
    best_N1 = (jnp.sort(gain_NK, 1, descending=True) * discount(place)).sum(1, keepdims=True)
    gain_NK /= jnp.where(best_N1 > 0, best_N1, 1)
    order_NK = jnp.argsort(jnp.where(mask_NK, -scores_NK, jnp.inf), axis=1)
    rank_NK = jnp.argsort(order_NK, axis=1) + 1.0
    apart_NKK = jnp.maximum(jnp.abs(_differences(rank_NK)), 1)  # on the diagonal there is no pair
    delta_NKK = discount(apart_NKK) - discount(apart_NKK + 1)
    rho_NKK = jnp.abs(_differences(discount(rank_NK)))
    return (rho_NKK + mu * delta_NKK) * jnp.abs(_differences(gain_NK))


def _count(x):
    return x.sum().astype(jnp.float32)
