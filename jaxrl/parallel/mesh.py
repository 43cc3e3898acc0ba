"""Building a mesh, refusing one that does not fit, and constraining activations to it.

Axis types are Auto everywhere: the compiler propagates shardings from the parameters, the batch and
the constraints at block edges. Several slices (ICI and DCN) are left to the launchers' mesh.
"""

import math

import jax
from jax.sharding import AxisType

from jaxrl.parallel import rules as tables

SIZES = {  # logical axis of a parameter -> the letter of its size
    "vocab": "V (vocabulary)",
    "embed": "D (width)",
    "layers": "L (layers)",
    "heads": "H (heads)",
    "kv_heads": "K (key and value heads)",
    "head_dim": "N (head dimension)",
    "mlp": "F (feed-forward width)",
    "expert": "E (experts)",
    "expert_mlp": "F (feed-forward width)",
}


def make(data=1, fsdp=1, context=1, tensor=1, devices=None):
    """A mesh (data, fsdp, context, tensor) over all devices or those given; -1 = the rest of them.

    Neighbours on an axis further to the right are closer, as devices are numbered.
    """
    devices = list(jax.devices() if devices is None else devices)
    asked = {"data": data, "fsdp": fsdp, "context": context, "tensor": tensor}
    sizes = _resolve(asked, len(devices))
    types = (AxisType.Auto,) * len(sizes)  # jax's own default is Explicit
    return jax.make_mesh(tuple(sizes.values()), tuple(sizes), axis_types=types, devices=devices)


def check(mesh, specs, *, rows, rules=tables.TRAIN):
    """Refuses a mesh that does not divide the model or the batch; runs before any compute.

    specs: the model's parameter tree as Specs: each axis of each is checked that the rules split.
    rows: {config key: how many rows that setting puts into a batch}.
    """
    is_spec = lambda x: hasattr(x, "axes")
    for path, s in jax.tree_util.tree_leaves_with_path(specs, is_leaf=is_spec):
        for axis, size in zip(s.axes, s.shape, strict=True):
            if axis is not None and rules[axis] is not None:
                _divides(mesh, rules, axis, _size(path, axis), size)
    for key, number in rows.items():
        _divides(mesh, rules, "batch", key, number)


def columns(mesh, key, given, least):
    """The length of a row that splits over the mesh: as given, else `least`, rounded up."""
    if given:
        _divides(mesh, tables.TRAIN, "time", key, given)
        return given
    ways = math.prod(mesh.shape[name] for name in tables.names(tables.TRAIN["time"]))
    return -(-least // ways) * ways


def constrain(x, rules, *axes):
    """x with the sharding of these logical axes under `jax.set_mesh`; x itself without a mesh."""
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return jax.lax.with_sharding_constraint(x, tables.spec(rules, *axes))


def _resolve(sizes, available):
    for name, size in sizes.items():
        if size == 0 or size < -1:
            raise ValueError(f"mesh.{name}={size}: give a size of at least 1, or -1 for the rest")
    rest = [name for name, size in sizes.items() if size == -1]
    if len(rest) > 1:
        keys = " and ".join(f"mesh.{name}" for name in rest)
        raise ValueError(f"{keys} are all -1: only one axis can take the rest; set the others")
    fixed = math.prod(size for size in sizes.values() if size != -1)
    asked = ", ".join(f"mesh.{name}={size}" for name, size in sizes.items())
    if available % fixed:
        fix = f"lower the fixed sizes to a divisor of {available}"
        raise ValueError(f"{asked} ask for multiples of {fixed}, with {available} devices: {fix}")
    if not rest and fixed != available:
        fix = "set one axis to -1 for the rest, or pass fewer devices"
        raise ValueError(f"{asked} multiply to {fixed}, with {available} devices: {fix}")
    return {name: available // fixed if size == -1 else size for name, size in sizes.items()}


def _size(path, axis):
    """The name of an axis's size: "model.K (..)", or "model.visual.H (..)" inside a part."""
    parts = [key.key for key in path[:-1] if key.key != "layers"]
    return ".".join(["model", *parts, SIZES[axis]])


def _divides(mesh, rules, axis, key, number):
    split = tables.names(rules[axis])
    ways = math.prod(mesh.shape[name] for name in split)
    if number % ways == 0 and number > 0:
        return
    settings = " × ".join(f"mesh.{name}={mesh.shape[name]}" for name in split)
    fits = [n for n in range(1, min(number, mesh.size) + 1) if number % n == 0]
    raise ValueError(
        f"{settings} splits {ways} ways, which does not divide {key}={number}: "
        f"make the product of {', '.join(f'mesh.{name}' for name in split)} one of {fits}, "
        f"or change {key.split(' (')[0]} to a multiple of {ways}"
    )
