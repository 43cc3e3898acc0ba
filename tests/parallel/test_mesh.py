"""Meshes and rules: what fits is placed, what does not is refused with the key and the fix."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxrl.models import decoder
from jaxrl.models.spec import Spec
from jaxrl.parallel import mesh as meshes
from jaxrl.parallel import rules

CONFIG = decoder.Config(V=64, D=16, L=2, H=4, K=2, N=4, F=32)


def test_the_rest_of_the_devices_goes_to_the_axis_that_asks():
    mesh = meshes.make(data=-1, fsdp=2, tensor=2)
    assert dict(mesh.shape) == {"data": 2, "fsdp": 2, "context": 1, "tensor": 2}
    assert mesh.axis_names == rules.MESH_AXES
    assert set(mesh.axis_types) == {AxisType.Auto}


def test_fewer_devices_can_be_passed():
    assert meshes.make(devices=jax.devices()[:1]).size == 1


@pytest.mark.parametrize(
    "sizes, words",
    [
        ({"data": 3}, ["mesh.data=3", "8 devices", "divisor"]),
        ({"data": 2}, ["mesh.data=2", "multiply to 2", "-1"]),
        ({"data": -1, "fsdp": -1}, ["mesh.data and mesh.fsdp", "-1"]),
        ({"tensor": 0, "data": -1}, ["mesh.tensor=0", "at least 1"]),
        ({"fsdp": -2}, ["mesh.fsdp=-2", "at least 1"]),
    ],
)
def test_sizes_that_do_not_multiply_to_the_devices_are_refused(sizes, words):
    with pytest.raises(ValueError) as error:
        meshes.make(**sizes)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    "sizes, change, key",
    [
        ({"tensor": 4, "data": -1}, {}, "model.K"),
        ({"tensor": 4, "data": -1}, {"K": 4, "H": 6}, "model.H"),
        ({"tensor": 4, "data": -1}, {"K": 4, "V": 50}, "model.V"),
        ({"tensor": 4, "data": -1}, {"K": 4, "F": 30}, "model.F"),
        ({"fsdp": 8}, {"D": 12}, "model.D"),
        ({"tensor": 4, "data": -1}, {"K": 4, "E": 6, "top_k": 2, "F": 3}, "model.E (experts)=6"),
    ],
)
def test_a_mesh_that_does_not_divide_the_model_is_refused(sizes, change, key):
    specs = decoder.specs(dataclasses.replace(CONFIG, **change))
    with pytest.raises(ValueError, match="does not divide") as error:
        meshes.check(meshes.make(**sizes), specs, rows={})
    assert key in str(error.value) and "mesh." in str(error.value)


def test_what_is_refused_of_a_part_of_the_model_names_that_part():
    """A tower has heads and widths of its own, beside the decoder's."""
    tower = {"visual": {"layers": {"q": Spec((16, 6), ("embed", "heads"))}}}
    specs = decoder.specs(dataclasses.replace(CONFIG, K=4)) | tower
    meshes.check(meshes.make(tensor=2, data=-1), specs, rows={})
    with pytest.raises(ValueError, match=r"model.visual.H \(heads\)=6: .*change model.visual.H to"):
        meshes.check(meshes.make(tensor=4, data=-1), specs, rows={})


def test_a_mesh_that_does_not_divide_the_batch_names_the_setting():
    mesh = meshes.make(data=4, fsdp=2)
    meshes.check(mesh, decoder.specs(CONFIG), rows={"rollout.prompts": 16})
    with pytest.raises(ValueError, match=r"mesh.data=4 × mesh.fsdp=2.*rollout.prompts=12"):
        meshes.check(mesh, decoder.specs(CONFIG), rows={"rollout.prompts": 12})


def test_a_row_splits_evenly_over_the_context_axis():
    mesh = meshes.make(context=4, data=2)
    assert meshes.columns(mesh, "learner.width", 0, 129) == 132  # nobody asked: rounded up
    assert meshes.columns(mesh, "learner.width", 128, 100) == 128
    with pytest.raises(ValueError, match=r"mesh.context=4 .*does not divide learner.width=130"):
        meshes.columns(mesh, "learner.width", 130, 100)


def test_every_parameter_of_the_decoder_is_placed_and_split():
    """A table row that no parameter reaches would leave a tensor replicated on every device."""
    mesh = meshes.make(data=2, fsdp=2, tensor=2)
    placed = rules.shardings(decoder.specs(CONFIG), mesh, rules.TRAIN)
    width = "fsdp", "context"
    assert placed["embed"].spec == PartitionSpec("tensor", width)
    assert placed["layers"]["q"].spec == PartitionSpec(None, width, "tensor", None)
    assert placed["layers"]["o"].spec == PartitionSpec(None, "tensor", None, width)
    sample = rules.shardings(decoder.specs(CONFIG), mesh, rules.SAMPLE)
    assert sample["layers"]["down"].spec == PartitionSpec(None, "tensor", None)


def test_unknown_axes_and_doubled_mesh_axes_are_refused():
    with pytest.raises(KeyError, match="emebd"):
        rules.spec(rules.TRAIN, "emebd")
    with pytest.raises(ValueError, match=r"'tensor'.*more than once"):
        rules.spec(rules.TRAIN, "heads", "mlp")
    with pytest.raises(ValueError, match=r"'fsdp'.*more than once"):
        rules.spec(rules.TRAIN, "batch", "embed")


def test_constrain_splits_under_a_mesh_and_is_the_identity_without():
    x = jnp.arange(32.0).reshape(8, 4)
    assert meshes.constrain(x, rules.TRAIN, "batch", None) is x
    mesh = meshes.make(data=2, fsdp=2, tensor=2)
    double = jax.jit(lambda x: meshes.constrain(x * 2, rules.TRAIN, "batch", "act_embed"))
    with jax.set_mesh(mesh):
        y = double(x)
    assert y.sharding.is_equivalent_to(NamedSharding(mesh, PartitionSpec(("data", "fsdp"))), 2)
    np.testing.assert_array_equal(y, 2 * x)


def test_a_scalar_parameter_is_replicated():
    mesh = meshes.make(data=8)
    assert rules.shardings(Spec((), ()), mesh, rules.TRAIN).spec == PartitionSpec()
