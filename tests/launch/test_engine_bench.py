"""The engine's bench on a tiny model: what it counts, and that both sides are asked the same."""

import pytest
import tiny
import tiny_engine

from launch.benches import engine as bench


@pytest.mark.slow
def test_what_a_conversation_prefills_is_counted(monkeypatch):
    """A group's first prompt once, then what each turn adds beyond whole pages."""
    monkeypatch.setattr(bench, "PROMPT", 9)
    monkeypatch.setattr(bench, "GROUP", 2)
    monkeypatch.setattr(bench, "TURNS", 2)
    monkeypatch.setattr(bench, "DRAWN", 4)
    monkeypatch.setattr(bench, "SAID", 4)
    row = bench.turns(tiny_engine.make(), tiny.MODEL)
    # 8 before the last of the prompt, for both two pages of 4; then 16, of which 12 were written
    assert row.value == 8 + 0 + 2 * 4
    assert row.peer_value == 2 * 8 + 2 * 16


def test_requests_are_spread_as_they_say():
    asked = bench.requests(tiny.MODEL, (16, 128))
    assert {len(r.tokens) for r in asked} == {bench.PROMPT}
    assert {r.max_new for r in asked} == {16, 128} and len({r.seed for r in asked}) == len(asked)


def test_a_peer_is_refused():
    with pytest.raises(ValueError, match="--peer=vllm"):
        next(bench.run("vllm"))
