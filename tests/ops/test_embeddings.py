import jax
import jax.numpy as jnp
import numpy as np
import oracles_embedding as oracles
import pytest

from jaxrl.ops import embeddings


def test_normalize_gives_unit_vectors_and_leaves_zeros_alone():
    """The length of a padded row's zeros has no slope: the gradient was NaN there."""
    rng = np.random.default_rng(0)
    v = rng.normal(size=(3, 4, 6)).astype(np.float32)
    v[1, 2] = 0
    target = rng.normal(size=v.shape).astype(np.float32)
    run = jax.jit(jax.value_and_grad(lambda x: (embeddings.normalize(x) * target).sum()))
    want = oracles.unit(np.where(v == 0, 1, v))
    want[1, 2] = 0
    value, grad = run(v)
    np.testing.assert_allclose(value, (want * target).sum(), rtol=1e-5)
    np.testing.assert_allclose(jax.jit(embeddings.normalize)(v), want, atol=1e-6)
    assert np.isfinite(grad).all() and not grad[1, 2].any()
    np.testing.assert_allclose((grad * v).sum(-1), 0, atol=1e-5)  # no slope along the vector


def test_own_cosines_are_of_a_row_with_itself():
    rng = np.random.default_rng(0)
    q, d = oracles.unit(rng.normal(size=(3, 5))), oracles.unit(rng.normal(size=(3, 4, 5)))
    want = [[oracles.s(q[n], d[n, k]) for k in range(4)] for n in range(3)]
    got = embeddings.own_cosines(*(jnp.asarray(x, jnp.float32) for x in (q, d)))
    np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize("weights", [None, (0.5, 2.0, 1.0)])
def test_matryoshka_is_the_sum_over_prefixes(weights):
    rng = np.random.default_rng(0)
    tree = {
        "a": rng.normal(size=(4, 8)).astype(np.float32),
        "b": rng.normal(size=(4, 8)).astype(np.float32),
    }
    loss = lambda e: ((e["a"] * e["b"]).sum(), {"weight": 4.0, "width": float(e["a"].shape[-1])})
    run = lambda e: embeddings.matryoshka(loss, e, dims=(2, 8, 5), weights=weights)
    (total, stats), grad = jax.jit(jax.value_and_grad(run, has_aux=True))(tree)
    cosines = {
        m: sum(
            oracles.s(*map(oracles.unit, (a[:m], b[:m])))
            for a, b in zip(tree["a"], tree["b"], strict=True)
        )
        for m in (2, 8, 5)
    }
    want = sum(w * c for w, c in zip(weights or (1, 1, 1), cosines.values(), strict=True))
    np.testing.assert_allclose(total, want, rtol=1e-5)
    assert stats["weight"] == 4 and stats["width"] == 8
    for m, value in cosines.items():
        np.testing.assert_allclose(stats[f"loss_{m}"], value, rtol=1e-5)
    assert all(np.isfinite(g).all() for g in grad.values())


def test_dims_that_do_not_fit_are_refused():
    v = jnp.ones((2, 4))
    for dims in (0, 5):
        with pytest.raises(ValueError, match=f"dims={dims}.*1 to 4"):
            embeddings.truncate(v, dims)
    loss = lambda e: (e.sum(), {})
    for dims, weights in (((), None), ((2, 2), None), ((2, 4), (1.0,))):
        with pytest.raises(ValueError, match="dims="):
            embeddings.matryoshka(loss, v, dims=dims, weights=weights)


def test_cosines_are_not_rounded_by_an_accelerator():
    """A TPU multiplies float32 in bfloat16 unless told: at τ = 0.02 a logit is then off by 0.1."""
    q, d = jnp.ones((2, 4)), jnp.ones((2, 3, 4))
    with jax.default_matmul_precision("bfloat16"):
        traced = jax.make_jaxpr(jax.grad(lambda q: embeddings.own_cosines(q, d).sum()))(q)
    assert str(traced).count("dot_general") == 2  # there and back
    assert str(traced).count("precision=(Precision.HIGHEST, Precision.HIGHEST)") == 2
