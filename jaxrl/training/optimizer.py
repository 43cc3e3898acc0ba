"""AdamW with clipping and a schedule, as one optax chain.

The chain's state has the same tree whatever the settings, so that a run may change its learning
rate, decay or clip and still restore. Skipping a non-finite update belongs to `training/step.py`.
"""

import dataclasses
import math
import zlib

import jax
import jax.numpy as jnp
import optax

from jaxrl.ops import rounding
from jaxrl.records import TrainState

PLAIN = ("norm", "bias")  # parameters whose name ends so are not decayed


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The `optimizer` part of a config."""

    lr: float = 1e-6
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip: float = 1.0  # largest global norm of the gradient; 0 = no clipping
    warmup: int = 0  # updates of linear growth, the first of them at lr / warmup
    schedule: str = "constant"  # a key of SCHEDULES
    steps: int = 1  # updates of the whole run, warmup included
    final: float = 0.0  # share of lr that linear and cosine end at

    def __post_init__(self):
        """Refuses settings no run can use."""
        if self.schedule not in SCHEDULES:
            known = ", ".join(SCHEDULES)
            raise KeyError(f"optimizer.schedule={self.schedule!r}: use one of {known}")
        for key in ("lr", "weight_decay", "clip", "warmup", "final"):
            _require(getattr(self, key) >= 0, key, getattr(self, key), "give 0 or more")
        for key in ("b1", "b2"):
            _require(0 <= getattr(self, key) < 1, key, getattr(self, key), "give 0 ≤ value < 1")
        _require(self.eps > 0, "eps", self.eps, "give a value above 0, such as 1e-8")
        _require(self.steps >= 1, "steps", self.steps, "give at least 1")
        fix = f"give at most optimizer.steps={self.steps}"
        _require(self.warmup <= self.steps, "warmup", self.warmup, fix)


def build(c):
    """Clip by global norm → Adam's direction → decoupled decay → schedule (arXiv:1711.05101)."""
    return optax.chain(
        optax.clip_by_global_norm(c.clip) if c.clip else optax.identity(),
        optax.scale_by_adam(c.b1, c.b2, c.eps),
        optax.add_decayed_weights(c.weight_decay, mask=decay_mask),
        optax.scale_by_learning_rate(lambda step: learning_rate(c, step)),
    )


def learning_rate(c, step):
    """The rate of update number `step` (from 0, updates that were skipped not counted), f32."""
    step = jnp.asarray(step, jnp.float32)
    grown = jnp.minimum(1.0, (step + 1) / max(c.warmup, 1))
    done = jnp.clip((step - c.warmup) / max(c.steps - 1 - c.warmup, 1), 0.0, 1.0)
    return c.lr * grown * (c.final + (1 - c.final) * SCHEDULES[c.schedule](done))


def decay_mask(params):
    """True where weight decay applies: everywhere but on norms and biases, told by their names.

    The rank cannot tell them: layers are stacked, so a norm is [L, D] and a bias [L, H, N].
    """
    last = lambda path: jax.tree_util.keystr(path[-1:], simple=True)
    decays = lambda path, _: not last(path).endswith(PLAIN)
    return jax.tree_util.tree_map_with_path(decays, params)


def init_state(tx, params):
    """The TrainState before the first update. Traceable, so that `jit` creates it in place."""
    zero = lambda: jnp.zeros((), jnp.int32)  # one each: the step donates both
    return TrainState(step=zero(), params=params, opt=tx.init(_wide(params)), skipped=zero())


def update(tx, grads, state, key):
    """The TrainState after one update, in f32 throughout. key: of this update alone.

    Parameters in bfloat16 are rounded by chance (ops/rounding.py): to the nearest, an update below
    1/256 of a parameter would never be seen.
    """
    updates, opt = tx.update(grads, state.opt, _wide(state.params))
    moved = optax.apply_updates(_wide(state.params), updates)

    def narrow(path, x, like):
        if like.dtype == x.dtype:
            return x
        name = jax.tree_util.keystr(path)
        return rounding.stochastic(x, jax.random.fold_in(key, zlib.crc32(name.encode())))

    params = jax.tree_util.tree_map_with_path(narrow, moved, state.params)
    return state.replace(params=params, opt=opt)


def _wide(params):
    return jax.tree.map(lambda x: x.astype(jnp.float32), params)


def abstract_state(tx, params):
    """The abstract TrainState over abstract params with shardings: for restore and out_shardings.

    Moments lie as their parameters do; counters are replicated over the same mesh.
    """
    state = jax.eval_shape(lambda p: init_state(tx, p), params)
    where = jax.tree.leaves(params)[0].sharding
    alone = where
    if isinstance(where, jax.sharding.NamedSharding):
        alone = jax.sharding.NamedSharding(where.mesh, jax.sharding.PartitionSpec())
    place = lambda x, to: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=to)
    like = lambda x, p: place(x, p.sharding)
    rest = lambda x: place(x, alone)
    opt = optax.tree.map_params(tx, like, state.opt, params, transform_non_params=rest)
    return TrainState(step=rest(state.step), params=params, opt=opt, skipped=rest(state.skipped))


def _require(holds, key, value, fix):
    if not holds:
        raise ValueError(f"optimizer.{key}={value}: {fix}")


SCHEDULES = {  # share of the run after the warmup, in [0, 1] -> share of lr above its final value
    "constant": jnp.ones_like,
    "linear": lambda done: 1 - done,
    "cosine": lambda done: (1 + jnp.cos(math.pi * done)) / 2,
}
