"""Evaluation arithmetic: pass@k and the intervals printed beside every mean and proportion."""

import jax
import jax.numpy as jnp


def pass_at_k(n, correct, k):
    """Chance that at least one of k draws without replacement, out of n samples, is correct.

        pass@k = 1 − C(n−c, k) / C(n, k) = 1 − Π_{i<k} (n−c−i)₊ / (n−i)

    Chen et al. 2021, arXiv:2107.03374, eq. 1, as a product of k factors: no factorial overflows.

    n, correct: [B] int or scalars; k: Python int.  returns: [B] f32; NaN where k > n.
    """
    i = jnp.arange(k)
    n, wrong = jnp.asarray(n)[..., None], jnp.asarray(n - correct)[..., None]
    missed = jnp.prod(jnp.maximum(wrong - i, 0) / jnp.maximum(n - i, 1), axis=-1)
    return jnp.where(n[..., 0] >= k, 1 - missed, jnp.nan)


def wilson_interval(correct, n, *, z=1.959964):
    """Score interval of a proportion p̂ = correct / n; honest at 0 and 1, where p̂ ± z·se is not.

        (p̂ + z²/2n ± z √(p̂(1−p̂)/n + z²/4n²)) / (1 + z²/n)

    Wilson 1927, J. Amer. Statist. Assoc. 22; the default z gives 95 %.

    correct, n: [...] numbers.  returns: (low, high), each [...] f32; (0, 1) where n is 0.
    """
    count = jnp.maximum(n, 1)
    p, q = correct / count, z**2 / count
    middle, half = p + q / 2, z * jnp.sqrt(p * (1 - p) / count + q / (4 * count))
    low, high = (middle - half) / (1 + q), (middle + half) / (1 + q)
    known = jnp.asarray(n) > 0
    return jnp.where(known, jnp.maximum(low, 0), 0.0), jnp.where(known, jnp.minimum(high, 1), 1.0)


def bootstrap_interval(values, mask, key, *, level=0.95, draws=1000):
    """Percentile interval of the mean of values, by resampling those under the mask.

        [q_α, q_{1−α}] of { mean(x*_d) : d < draws },   α = (1 − level) / 2,   x*_d a resample

    Efron 1979, Ann. Statist. 7; the percentile form. What lies under mask 0 is never drawn.

    values: [B] f32; mask: [B] bool.  returns: (low, high), each [] f32; NaN if the mask is empty.
    """
    count = mask.sum()
    order = jnp.argsort(~mask)  # the drawable ones first; stable
    pick = jax.random.randint(key, (draws, len(values)), 0, jnp.maximum(count, 1))
    counted = jnp.arange(len(values)) < count  # a resample is as large as the sample, not the array
    drawn = jnp.where(counted, values[order][pick], 0)
    means = jnp.where(count > 0, drawn.sum(axis=1) / count, jnp.nan)
    low, high = jnp.quantile(means, jnp.array([(1 - level) / 2, (1 + level) / 2]))
    return low, high
