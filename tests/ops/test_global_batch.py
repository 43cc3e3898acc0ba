"""One device with the whole batch and eight with a row each: the same loss, the same gradients."""

import functools

import jax
import numpy as np
import oracles_embedding as oracles
import pytest

from jaxrl.ops import contrastive_losses
from jaxrl.ops.contrastive_losses import Labels
from jaxrl.ops.global_batch import over_devices
from jaxrl.parallel import mesh as meshes
from jaxrl.parallel import rules

N, K, D = 8, 3, 6
SPLIT = rules.TRAIN["batch"]


def batch():
    rng = np.random.default_rng(0)
    q, d = oracles.unit(rng.normal(size=(N, D))), oracles.unit(rng.normal(size=(N, K, D)))
    ids = rng.integers(0, 12, (N, K)).astype(np.int32)  # repeated across devices
    weight = np.ones(N, np.float32)
    weight[6] = 0
    labels = Labels(ids, rng.random((N, K)) < 0.8, weight, np.arange(N) == 3)
    return q.astype(np.float32), d.astype(np.float32), labels


INFO_NCE = functools.partial(
    contrastive_losses.info_nce,
    temperature=0.1,
    margin=0.1,
    query_query=True,
    document_document=True,
)
SYMMETRIC = functools.partial(contrastive_losses.symmetric_info_nce, temperature=0.1)


@pytest.mark.parametrize(
    "loss, sizes",
    [(INFO_NCE, {"data": 4, "fsdp": 2}), (SYMMETRIC, {"data": 2, "tensor": 4})],
    ids=["info_nce", "symmetric"],
)
def test_a_mesh_changes_neither_loss_nor_gradients(loss, sizes):
    """A gather without its gradient loses what a document is told by other devices' queries."""
    q, d, labels = batch()
    run = jax.jit(
        jax.value_and_grad(lambda e, known: over_devices(loss, (*e, known), SPLIT), has_aux=True)
    )
    want = run((q, d), labels)
    mesh = meshes.make(**sizes)
    place = lambda x: jax.device_put(x, jax.NamedSharding(mesh, jax.P(SPLIT)))
    with jax.set_mesh(mesh):
        got = run(*jax.tree.map(place, ((q, d), labels)))
        assert got[1][0].sharding.spec[0] is not None, "gradients went back to their devices"
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, want)
    assert want[0][1]["weight"] == 7 and want[1][1].any()
