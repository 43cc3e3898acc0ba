"""What a run refuses to go on with."""

import pytest
import tiny

from jaxrl.models import checkpoints
from jaxrl.training import setup
from jaxrl.training.session import Session


class Stream:
    """Data without a place."""

    def get_state(self):
        return {}

    def set_state(self, state):
        assert state == {}


def test_adapters_do_not_go_on_with_another_base(tmp_path):
    """Their checkpoint names the base; whoever writes another there must hear of it."""
    model = tiny.write(tmp_path / "model")
    c = tiny.config(model, **{"model.lora.rank": 2, "model.base": "int8"})
    base = setup.open_base(c, {"learner.micro": 8}, updates=2)
    for _ in range(2):  # with the base as it was, it goes on
        with Session(c, base, tmp_path / "run", Stream()) as s:
            s.save(s.state)
    model.rename(tmp_path / "before")
    checkpoints.save(tiny.params(seed=1), tiny.MODEL, tiny.TOKENIZER, model)
    with pytest.raises(ValueError, match=r"model.checkpoint=.*: other weights.*another --workdir"):
        with Session(c, base, tmp_path / "run", Stream()):
            pass
