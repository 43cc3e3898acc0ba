"""In-batch negatives from all devices: every row of the mesh is a negative of every other."""

import jax
from jax.sharding import PartitionSpec


def over_devices(loss, rows, split, **knobs):
    """A loss of rows that are spread over devices, each device with its own rows against all.

        Σ_devices loss(own rows, whole = rows of all devices, start = where the own ones begin)

    The rows of all are gathered, and their gradients go back to where they came from: the result
    and the gradients are those of one device with the whole batch. (Ports that gather without
    gradients, as ms-swift's, lose what a document is told by the queries of other devices.)

    loss: such as `contrastive_losses.info_nce`; rows: its embeddings and labels, the first axis of
    each leaf split over the mesh axes `split`; under no mesh, plain loss(*rows, **knobs).
    returns: (sum, stats), equal on all devices.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return loss(*rows, **knobs)

    def local(rows):
        whole = jax.tree.map(lambda x: jax.lax.all_gather(x, split, tiled=True), rows)
        start = jax.lax.axis_index(split) * len(rows[0])
        return jax.lax.psum(loss(*rows, whole=whole, start=start, **knobs), split)

    return jax.shard_map(
        local, in_specs=PartitionSpec(split), out_specs=PartitionSpec(), axis_names=set(split)
    )(rows)
