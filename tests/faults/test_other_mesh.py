"""A checkpoint of one device goes on upon eight: the same bits, and the same next update."""

import functools

import jax
import numpy as np
import pytest
import tiny

from jaxrl.algos import objectives
from jaxrl.data import packing
from jaxrl.training import step
from jaxrl.training.checkpoint import Checkpointer

pytestmark = pytest.mark.faults  # three compiles of the update
OBJECTIVE = functools.partial(objectives.OBJECTIVES["ppo_clip"], c=objectives.ObjectiveConfig())
LOSS = step.make_loss(OBJECTIVE, tiny.MODEL)
MESHES = {"8": {"data": 8}, "2×2×2": {"data": 2, "fsdp": 2, "tensor": 2}}


def update(base, state):
    """The state after one update on rows that are the same on every mesh."""
    traj = tiny.trajectory(0, P=8, G=3)
    adv = np.random.default_rng(1).normal(size=traj.tokens.shape).astype(np.float32)
    values = {"mask": traj.mask.astype(np.float32), "adv": adv, "old_logp": traj.full_logp}
    values |= {"ref_logp": np.zeros_like(adv)}
    rows, used, _ = packing.pack(traj, values, groups=np.arange(8), width=30, scored=25, rows=8)
    learn = step.make_train_step(LOSS, base.tx, base.shardings())
    with jax.set_mesh(base.mesh):
        return learn(state, *base.place_micro(rows, used, 8))[0]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """(run directory, the state saved in it, the state after one more update), of one device."""
    run, base = tmp_path_factory.mktemp("run"), tiny.base()
    state = update(base, tiny.state(base))
    kept = jax.device_get(state)
    with Checkpointer(run) as keeper:
        keeper.save(state, {})
    return run, kept, jax.device_get(update(base, state))


@pytest.mark.parametrize("name", MESHES)
def test_a_checkpoint_goes_on_upon_another_mesh(saved, name):
    run, kept, want = saved
    base = tiny.base(jax.devices(), MESHES[name])
    with Checkpointer(run) as keeper:
        state, _ = keeper.restore(base.abstract_state())
    assert len(state.params["embed"].sharding.device_set) == 8
    for x, y in zip(jax.tree.leaves(state), jax.tree.leaves(kept), strict=True):
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()
    tiny.assert_close(jax.device_get(update(base, state)).params, want.params, 1e-5)
