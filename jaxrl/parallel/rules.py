"""Logical axis → mesh axis: the one place that knows how arrays are split over devices.

A new strategy is a new row or a new table. Which parameter has which logical axes is said where the
parameter is declared (`models/spec.py`).
"""

import jax
from jax.sharding import NamedSharding, PartitionSpec

MESH_AXES = ("data", "fsdp", "context", "tensor")

TRAIN = {  # None = replicated; an unknown name is a KeyError
    "batch": ("data", "fsdp"),
    "time": "context",  # columns of a row; attention passes keys round that axis
    "tokens": ("data", "fsdp", "context"),  # scored tokens, rows and columns in one list
    "act_embed": None,
    "vocab": "tensor",
    "embed": ("fsdp", "context"),  # of weights: who shares a row also shares them
    "layers": None,
    "heads": "tensor",
    "kv_heads": "tensor",
    "head_dim": None,
    "mlp": "tensor",
    "expert": "tensor",  # whole experts: their width stays in one piece
    "expert_mlp": None,
    "rank": None,  # of an adapter
}
SAMPLE = TRAIN | {"embed": None}  # decoding gathers no weights: replicate what training shards


def spec(rules, *axes):
    """The PartitionSpec of an array with these logical axes; None stands for a replicated one."""
    placed = [None if axis is None else rules[axis] for axis in axes]
    taken = [name for place in placed for name in names(place)]
    twice = {name for name in taken if taken.count(name) > 1}
    if twice:
        raise ValueError(
            f"axes {axes} use mesh axis {sorted(twice)} more than once (rows: "
            f"{dict(zip(axes, placed, strict=True))}); map one of them to None in the rules"
        )
    return PartitionSpec(*placed)


def names(place):
    """The mesh axes of one row of a table, as a tuple."""
    if place is None:
        return ()
    return (place,) if isinstance(place, str) else tuple(place)


def shardings(specs, mesh, rules):
    """A tree of Spec -> the same tree of NamedSharding."""
    place = lambda s: NamedSharding(mesh, spec(rules, *s.axes))
    return jax.tree.map(place, specs, is_leaf=lambda x: hasattr(x, "axes"))
