"""Weights on their way from the learner to the sampler.

The two split parameters differently (`rules.TRAIN`, `rules.SAMPLE`) and may hold them in different
dtypes. What is alike in both stays where it is: the sampler reads the learner's own buffers, and
the update that donates them waits for programs that still do. Meshes apart are left out.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxrl.ops.fingerprint import fingerprint


class Mover:
    """One compiled reshard, and a proof that it arrived.

    learner, sampler: the same tree of parameters as shapes with shardings, as each side wants it.
    """

    def __init__(self, learner, sampler):
        pairs = list(
            zip(jax.tree_util.tree_leaves_with_path(learner), jax.tree.leaves(sampler), strict=True)
        )
        self._moves = [not _alike(x, y) for (_, x), y in pairs]
        moved = [
            (path, y) for ((path, _), y), moves in zip(pairs, self._moves, strict=True) if moves
        ]
        self._names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in moved]
        if not moved:
            return
        dtypes = [y.dtype for _, y in moved]
        cast = lambda leaves: [x.astype(d) for x, d in zip(leaves, dtypes, strict=True)]
        everywhere = NamedSharding(moved[0][1].sharding.mesh, PartitionSpec())
        self._reshard = jax.jit(cast, out_shardings=[y.sharding for _, y in moved])
        self._prints = jax.jit(
            lambda leaves: jnp.stack([fingerprint(x) for x in cast(leaves)]),
            out_shardings=everywhere,
        )

    def __call__(self, params, version):
        """The sampler's parameters. Raises if the bits of a leaf differ from the learner's.

        version: what the error calls them.
        """
        leaves, tree = jax.tree.flatten(params)
        leaving = [x for x, moves in zip(leaves, self._moves, strict=True) if moves]
        if not leaving:
            return params
        # One program at a time: many CPU devices on few cores can wait for each other otherwise.
        arrived = jax.block_until_ready(self._reshard(leaving))
        self._check(_everywhere(self._prints(leaving)), _everywhere(self._prints(arrived)), version)
        rest = iter(arrived)
        both = zip(leaves, self._moves, strict=True)
        return jax.tree.unflatten(tree, [next(rest) if moves else x for x, moves in both])

    def _check(self, sent, got, version):
        alike = (sent == got).all(0)
        wrong = [name for name, same in zip(self._names, alike, strict=True) if not same]
        if wrong:
            raise RuntimeError(
                f"the weights of version {version} did not reach the sampler: the checksums of "
                f"{len(wrong)} of {len(self._names)} moved arrays differ, the first {wrong[:3]}. "
                "Nothing was sampled from them: rerun to resume from the last checkpoint; if it "
                "comes again, check the devices' memory"
            )


def _everywhere(prints):
    """What each device of this process has computed from its own copies, [devices, arrays]."""
    return np.stack([shard.data for shard in prints.addressable_shards])


def _alike(x, y):
    return x.dtype == y.dtype and x.sharding.is_equivalent_to(y.sharding, x.ndim)
