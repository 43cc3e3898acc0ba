"""Points between models: merging, one parameter or one tree of them at a time. All in f32."""

import jax
import jax.numpy as jnp

STRAIGHT = 1e-3  # an angle below which arc and line differ by less than f32 rounds


def slerp(a, b, t, *, lead=0):
    """The point at share t of the arc from a to b, each taken as one vector.

        sin((1−t)Ω)/sin Ω · a + sin(tΩ)/sin Ω · b,    cos Ω = ⟨a, b⟩ / (‖a‖ ‖b‖)

    Shoemake 1985, doi 10.1145/325334.325242, for unit vectors; here lengths are blended along with
    directions. Where there is no arc, or more than one, it is the line (1−t) a + t b: nearly
    parallel or opposite vectors, and a zero. Both are not given in the papers that merge so
    (Qwen3-Embedding, arXiv:2506.05176); our choice.

    a, b: [.., ..] any float; lead: how many leading axes count separate vectors, such as layers.
    """
    a, b = a.astype(jnp.float32), b.astype(jnp.float32)
    axes = tuple(range(lead, a.ndim))
    length = lambda x: jnp.sqrt(jnp.square(x).sum(axes, keepdims=True))
    unit = lambda x: x / jnp.maximum(length(x), 1e-30)
    # Half the angle by its tangent: an arc cosine loses what lies near 1, where fine-tuning stays.
    angle = 2 * jnp.arctan2(length(unit(a) - unit(b)), length(unit(a) + unit(b)))
    arc = (angle > STRAIGHT) & (angle < jnp.pi - STRAIGHT)
    arc &= (length(a) > 0) & (length(b) > 0)
    angle = jnp.where(arc, angle, 1)
    share = lambda s: jnp.where(arc, jnp.sin(s * angle) / jnp.sin(angle), s)
    return share(1 - t) * a + share(t) * b


def interpolated(base, models, coefficients):
    """A model moved along the task vectors of others: trees in, a tree of f32 out.

        θ = θ₀ + Σ_i a_i (θ_i − θ₀)

    Ilharco et al. 2023, arXiv:2212.04089. It is differentiated by the a_i alone where θ₀ and θ_i
    are constants. base: θ₀; models: the θ_i; coefficients: [their number].
    """

    def move(x, *others):
        x = x.astype(jnp.float32)
        steps = [a * (y.astype(jnp.float32) - x) for a, y in zip(coefficients, others, strict=True)]
        return x + sum(steps)

    return jax.tree.map(move, base, *models)


def cosine(a, b):
    """⟨a, b⟩ / (‖a‖ ‖b‖) of two arrays taken as vectors; 0 if one is zero."""
    a, b = a.astype(jnp.float32).reshape(-1), b.astype(jnp.float32).reshape(-1)
    lengths = jnp.linalg.norm(a) * jnp.linalg.norm(b)
    return jnp.where(lengths > 0, a @ b / jnp.where(lengths > 0, lengths, 1), 0.0)
