"""What the scaling bench reads from compiled programs: growth in data costs a device nothing."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxrl.parallel import mesh
from launch.benches import compiled as programs

GROWTH = """
import json, jax
from jaxrl.models import decoder
from launch.benches import scaling
jax.config.update("jax_num_cpu_devices", 64)
model = decoder.Config(V=512, D=128, L=2, H=8, K=8, N=16, F=256, tied=False)
sent = lambda n: {k: scaling.measure("update", n, model)[k][0] for k in scaling.compiled.KINDS}
print(json.dumps([sent(16), sent(64)]))
"""


def compiled(fn, *shapes, split="data", **axes):
    """fn over eight devices, its arguments split along their first axis."""
    where = mesh.make(**axes or {"data": 8})
    place = NamedSharding(where, PartitionSpec(split))
    args = [jax.ShapeDtypeStruct(shape, jnp.float32, sharding=place) for shape in shapes]
    with jax.set_mesh(where):
        whole = NamedSharding(where, PartitionSpec())
        return jax.jit(fn, out_shardings=whole).lower(*args).compile().as_text()


def test_a_sum_over_devices_is_counted_once_for_each_half_of_its_ring():
    sent = programs.read(compiled(lambda x: x.sum(0), (8, 1024)), 8)
    assert sent == dict.fromkeys(("flop", *programs.KINDS), 0) | {"all-reduce": 2 * 7 / 8 * 4096}


@pytest.mark.parametrize("axis, g", [("data", 2), ("fsdp", 4)])
def test_a_sum_over_an_axis_of_the_mesh_is_among_its_devices(axis, g):
    text = compiled(lambda x: x.sum(0), (8, 1024), split=axis, data=2, fsdp=4)
    assert programs.read(text, 8)["all-reduce"] == 2 * (g - 1) / g * 4096


@pytest.mark.parametrize(
    "groups", ["{{0,1},{2,3}}", "[2,2]<=[4]", "mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'b'}"]
)
def test_groups_are_read_in_every_form(groups):
    line = f"  %x = f32[10]{{0}} all-gather(%y), replica_groups={groups}, dimensions={{0}}"
    text = f"ENTRY %main (y: f32[5]) -> f32[10] {{\n{line}\n}}"
    assert programs.read(text, 4)["all-gather"] == 20


def test_groups_in_another_form_are_refused():
    line = "  %x = f32[10]{0} all-gather(%y), replica_groups=torus(2)"
    with pytest.raises(ValueError, match="torus"):
        programs.read(f"ENTRY %main (y: f32[5]) -> f32[10] {{\n{line}\n}}", 4)


def test_what_is_gathered_comes_from_the_others():
    sent = programs.read(compiled(lambda x: x * 2, (8, 1024)), 8)
    assert sent["all-gather"] == 7 * 4096


def test_a_loop_counts_as_often_as_it_runs():
    def repeated(x):
        step = lambda _, y: jnp.tanh(x * y).sum(0, keepdims=True)
        return jax.lax.fori_loop(0, 5, step, jnp.ones((1, 1024)))

    sent = programs.read(compiled(repeated, (8, 1024)), 8)
    assert sent["all-reduce"] == 5 * 2 * 7 / 8 * 4096


def test_the_products_of_a_loop_count_as_often_as_it_runs():
    """Each device multiplies two matrices of 64, five times."""
    repeated = lambda x: jax.lax.fori_loop(0, 5, lambda _, y: y @ x, x).sum(0)
    found = programs.read(compiled(repeated, (8, 64, 64)), 8)
    assert found["flop"] == 5 * 2 * 64**3


@pytest.fixture(scope="module")
def growth():
    """What a device sends in an update on 16 and on 64 devices, a row each."""
    out = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True)
    return json.loads(out.stdout.splitlines()[-1])


@pytest.mark.slow  # compiles for 64 devices
def test_more_data_parallel_devices_do_not_send_more_each(growth):
    few, many = (sum(sent.values()) for sent in growth)
    assert few > 0 and abs(many / few - 1) < 0.1, growth
