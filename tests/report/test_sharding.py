"""Which device holds what, against arrays that are really placed."""

import itertools

import jax
import jax.numpy as jnp
import pytest
import tiny

from jaxrl.models import decoder
from jaxrl.parallel import mesh, rules
from jaxrl.report import sharding

TREE = decoder.specs(tiny.MODEL)
TABLES = {"learner": rules.TRAIN, "sampler": rules.SAMPLE}


@pytest.fixture(scope="module")
def devices():
    return mesh.make(data=2, fsdp=2, tensor=2)


def test_pieces_are_the_shards_of_the_array(devices):
    where = rules.shardings(TREE["embed"], devices, rules.TRAIN)
    x = jax.device_put(jnp.zeros(TREE["embed"].shape), where)
    got = sharding.pieces(x.shape, where)
    assert len(got) == 4 and sorted(itertools.chain(*got.values())) == list(range(8))
    for shard in x.addressable_shards:
        box = tuple(part.indices(n)[:2] for part, n in zip(shard.index, x.shape, strict=True))
        assert shard.device.id in got[box]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_bytes_are_those_a_device_holds(devices, table):
    params = jax.device_put(tiny.params(), rules.shardings(TREE, devices, table))
    held = sum(x.addressable_shards[3].data.nbytes for x in jax.tree.leaves(params))
    assert sharding.bytes_per_device(TREE, devices, table, 4) == held


def test_the_drawing_names_axes_and_the_devices_of_each_part(devices):
    chosen = {"q": TREE["layers"]["q"], "norm": TREE["norm"]}
    left, right, *norms = sharding.draw(chosen, devices, TABLES).axes
    texts = lambda axes: [text.get_text() for text in axes.texts if "\n" not in text.get_text()]
    assert texts(left) == ["0 4", "1 5", "2 6", "3 7"]
    assert texts(right) == ["0 2 4 6", "1 3 5 7"]
    assert (left.get_ylabel(), left.get_xlabel()) == ("embed → fsdp", "heads → tensor")
    assert (right.get_ylabel(), right.get_title()) == ("embed", "sampler")
    assert [texts(axes) for axes in norms] == [["0 1 4 5", "2 3 6 7"], ["0 1 2 3 4 5 6 7"]]
