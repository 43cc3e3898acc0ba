"""One declaration a parameter: initialisation, sharding and restore all derive from it."""

import dataclasses
import math
import zlib

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Spec:
    """Shape, the logical name of each axis (see parallel/rules.py), and the initial value.

    init: "normal" has variance 1 / fan_in, "embed" variance 1 / last axis; "ones"; "zeros".
    fan_in: how many leading axes (after "layers" and "expert") the product sums over. An axis
    named None is never split.
    """

    shape: tuple[int, ...]
    axes: tuple[str | None, ...]
    init: str = "normal"
    fan_in: int = 1


def is_spec(x):
    """True at the leaves of a tree of specs."""
    return isinstance(x, Spec)


def stack(specs, n):
    """The specs of n equal layers, stored as one array each with a leading "layers" axis."""
    grow = lambda s: dataclasses.replace(s, shape=(n, *s.shape), axes=("layers", *s.axes))
    return jax.tree.map(grow, specs, is_leaf=is_spec)


def init(specs, key, dtype=jnp.float32):
    """A tree of Spec -> the same tree of arrays. A leaf's draw depends on its path alone."""
    draw = lambda path, s: _init_leaf(s, _leaf_key(key, path), dtype)
    return jax.tree_util.tree_map_with_path(draw, specs, is_leaf=is_spec)


def abstract(specs, dtype=jnp.float32, shardings=None):
    """The same tree of ShapeDtypeStruct, with shardings if given: what a restore asks for."""
    if shardings is None:
        return jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, dtype), specs, is_leaf=is_spec)
    build = lambda s, place: jax.ShapeDtypeStruct(s.shape, dtype, sharding=place)
    return jax.tree.map(build, specs, shardings, is_leaf=is_spec)


def count(specs):
    """Number of parameters."""
    return sum(math.prod(s.shape) for s in jax.tree.leaves(specs, is_leaf=is_spec))


def _leaf_key(key, path):
    return jax.random.fold_in(key, zlib.crc32(jax.tree_util.keystr(path).encode()))


def _init_leaf(s, key, dtype):
    if s.init == "zeros":
        return jnp.zeros(s.shape, dtype)
    if s.init == "ones":
        return jnp.ones(s.shape, dtype)
    skip = sum(axis in ("layers", "expert") for axis in s.axes)
    fan = s.shape[-1:] if s.init == "embed" else s.shape[skip : skip + s.fan_in]
    return (jax.random.normal(key, s.shape) * math.prod(fan) ** -0.5).astype(dtype)
