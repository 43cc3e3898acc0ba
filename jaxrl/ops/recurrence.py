"""The one scan under every return and every estimator that looks ahead."""

import jax
import jax.numpy as jnp


def backward_recurrence(a, b):
    """Solves the linear recurrence that runs from the end of each row.

        x_t = b_t + a_t x_{t+1},   x_T = 0

    A loop of T small steps on a CPU, an associative scan of depth O(log T) elsewhere. Nothing is
    masked here: a caller steps over t with a_t = 1, b_t = 0 and cuts the row with a_t = 0.

    a, b: [B, T] f32.  returns: x [B, T] f32.
    """
    return jax.lax.platform_dependent(a, b, cpu=_by_steps, default=_by_doubling)


def _by_steps(a, b):
    def step(x, ab):
        x = ab[1] + ab[0] * x
        return x, x

    start = jnp.zeros_like(b[:, 0])
    return jax.lax.scan(step, start, (a.T, b.T), reverse=True)[1].T


def _by_doubling(a, b):
    def compose(later, earlier):
        (a1, b1), (a0, b0) = later, earlier
        return a0 * a1, b0 + a0 * b1

    return jax.lax.associative_scan(compose, (a, b), reverse=True, axis=1)[1]
