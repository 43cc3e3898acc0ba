"""Slerp is the arc, a line where there is none; moving along task vectors ends at the models."""

import jax
import numpy as np
import pytest

from jaxrl.ops import merging

RNG = np.random.default_rng(0)


def arc(a, b, t):
    """Shoemake's formula for two arrays, in float64."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    omega = np.arccos((a * b).sum() / np.sqrt((a * a).sum()) / np.sqrt((b * b).sum()))
    return (np.sin((1 - t) * omega) * a + np.sin(t * omega) * b) / np.sin(omega)


def pair(apart, shape=(3, 5, 4)):
    """Two arrays, `apart` of each other's length away, of different lengths."""
    a, b = RNG.normal(size=(2, *shape)).astype(np.float32)
    return a, (1.5 * (a + apart * b)).astype(np.float32)


@pytest.mark.parametrize("apart", [3.0, 0.5, 0.01])
@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_slerp_is_the_arc_of_each_layer(apart, t):
    a, b = pair(apart)
    got = jax.jit(merging.slerp, static_argnames="lead")(a, b, t, lead=1)
    want = np.stack([arc(x, y, t) for x, y in zip(a, b, strict=True)])
    np.testing.assert_allclose(got, want, atol=1e-5)
    whole = merging.slerp(a, b, t)
    np.testing.assert_allclose(whole, arc(a, b, t), atol=1e-5)
    assert t in (0, 1) or apart < 0.1 or np.abs(whole - got).max() > 1e-4


def test_slerp_of_unit_vectors_stays_on_the_sphere():
    """A line between them would pass through its inside, at length √½ half way."""
    a, b = np.eye(2, 7, dtype=np.float32)
    np.testing.assert_allclose(merging.slerp(a, b, 0.5), (a + b) / np.sqrt(2), atol=1e-6)


def test_what_has_no_arc_is_a_line():
    a, _ = pair(1.0)
    for b in (a, 2 * a, -a, 0 * a):
        for x, y in ((a, b), (b, a)):
            np.testing.assert_allclose(merging.slerp(x, y, 0.25), 0.75 * x + 0.25 * y, atol=1e-6)


def test_slerp_stays_finite_and_close_where_arc_and_line_meet():
    """Just beside the angle at which the formula changes."""
    for apart in (0.5e-3, 1e-3, 2e-3):
        a, b = pair(apart)
        np.testing.assert_allclose(merging.slerp(a, b, 0.5), (a + b) / 2, atol=1e-5)


def test_coefficients_place_a_model_along_the_task_vectors():
    base, one, two = ({"w": x} for x in RNG.normal(size=(3, 4, 2)).astype(np.float32))
    at = lambda *a: merging.interpolated(base, [one, two], a)["w"]
    np.testing.assert_array_equal(at(0, 0), base["w"])
    np.testing.assert_allclose(at(1, 0), one["w"], atol=1e-6)
    want = base["w"] + 2 * (one["w"] - base["w"]) - 0.5 * (two["w"] - base["w"])
    np.testing.assert_allclose(at(2, -0.5), want, atol=1e-5)
    with pytest.raises(ValueError, match=r"argument 2 is longer"):
        at(1)


def test_the_slope_of_a_coefficient_is_along_its_task_vector():
    base, one, two = RNG.normal(size=(3, 4, 2)).astype(np.float32)
    g = RNG.normal(size=(4, 2)).astype(np.float32)
    loss = lambda a: (merging.interpolated(base, [one, two], a) * g).sum()
    want = [(g * (x - base)).sum() for x in (one, two)]
    np.testing.assert_allclose(jax.grad(loss)(np.array([0.3, 0.2], np.float32)), want, rtol=1e-5)


def test_cosine_of_a_zero_is_none():
    a, b = pair(0.5)
    want = (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)
    np.testing.assert_allclose(merging.cosine(a, b), want, rtol=1e-5)
    assert merging.cosine(a, 0 * a) == 0
