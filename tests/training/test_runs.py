"""Models by name: a run with adapters is its base as it was held, with them merged in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxrl.models import lora
from jaxrl.training import runs, setup
from jaxrl.training.checkpoint import Checkpointer

SMALL = lora.LoraConfig(2, 4.0, ("q", "down"))
LORA = {"model.lora.rank": 2, "model.lora.alpha": 4.0, "model.lora.targets": ("q", "down")}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("runs") / "model")


def saved(run, model, state, **changes):
    """A run directory with that state as its checkpoint."""
    setup.write_config(tiny.config(model, **changes), run)
    with Checkpointer(run) as saver:
        saver.save(state, {})
    return run


def test_adapters_are_merged_into_the_base_as_the_run_held_it(model, tmp_path):
    state = tiny.state(tiny.base(c=SMALL), seed=3)
    run = saved(tmp_path / "run", model, state, **LORA | {"model.base": "int8"})
    c, params, tokenizer = runs.open_model(str(run))
    want = lora.merged(tiny.held("int8"), tiny.adapters(SMALL, seed=3), SMALL)
    tiny.assert_close(jax.device_get(params), jax.device_get(want), 1e-6)
    assert c == tiny.MODEL and tokenizer.vocab_size == tiny.TOKENIZER.vocab_size
    base, same, found, how = runs.open_adapters(run)
    assert (base, same, how) == (model, tiny.MODEL, SMALL)
    jax.tree.map(np.testing.assert_array_equal, found, tiny.adapters(SMALL, seed=3))


def test_parameters_in_bf16_are_read_as_they_were_saved(model, tmp_path):
    state = tiny.state(tiny.base())
    state = state.replace(params=jax.tree.map(lambda x: x.astype(jnp.bfloat16), state.params))
    run = saved(tmp_path / "run", model, state, **{"model.params": "bfloat16"})
    jax.tree.map(np.testing.assert_array_equal, runs.open_model(str(run))[1], state.params)
    with pytest.raises(ValueError, match=r"run holds no adapters: give .* model.lora.rank above 0"):
        runs.open_adapters(run)
