"""Constraints: what comes out always fits, and nobody beside it notices."""

import dataclasses
import json
import sys

import jax
import jax.numpy as jnp
import jsonschema
import numpy as np
import pytest
import tiny_engine
from tiny_engine import CHAT, NoEnd

from jaxrl.ops import distributions
from jaxrl.ops.distributions import Law
from jaxrl.sampling.constraints import Grammars
from jaxrl.sampling.engine import Request

VERDICT = {
    "type": "object",
    "properties": {
        "winner": {"enum": ["A", "B", "Tie"]},
        "score": {"type": "integer", "minimum": -3, "maximum": 10},
        "why": {"type": "string", "maxLength": 6},
        "steps": {"type": "array", "items": {"type": "number"}, "maxItems": 2},
    },
    "required": ["winner", "score", "why"],
    "additionalProperties": False,
}
CHOICES = ("yes", "yes, but", 'a "b"\n\\c', "日本")
PROMPT = tuple(CHAT.encode("Which?"))


@pytest.fixture(scope="module")
def engine():
    return tiny_engine.make_chat()


def ask(constraint, seed=0, law=Law(1.5), max_new=200, **more):  # noqa: B008
    return Request(PROMPT, max_new, law, seed=seed, constraint=constraint, **more)


def test_json_of_a_schema_always_validates(engine):
    jobs = engine.run([ask(VERDICT, seed) for seed in range(8)])
    texts = [CHAT.decode(job.tokens) for job in jobs]
    ended = [json.loads(t) for t, job in zip(texts, jobs, strict=True) if job.ending == "stop"]
    for verdict in ended:
        jsonschema.validate(verdict, VERDICT)
    assert len(ended) >= 6 and len({str(v) for v in ended}) == len(ended)
    assert {job.ending for job in jobs} <= {"stop", "length"}


def test_choices_are_exact_and_every_one_is_taken(engine):
    jobs = engine.run([ask(CHOICES, seed) for seed in range(24)])
    assert {CHAT.decode(job.tokens) for job in jobs} == set(CHOICES)
    assert {job.ending for job in jobs} == {"stop"}


def test_log_probs_of_the_law_count_the_allowed_alone(engine):
    """Of two choices of a token each the law's probabilities add up to 1; the full ones do not."""
    seen = {}
    for job in engine.run([ask(("Q", "x"), seed, Law(1.0)) for seed in range(12)]):
        seen[CHAT.decode(job.tokens)] = job
    assert set(seen) == {"Q", "x"}
    first = lambda name: np.exp([getattr(job, name)[0] for job in seen.values()])
    np.testing.assert_allclose(first("logp").sum(), 1, atol=1e-5)
    assert first("full_logp").sum() < 0.5
    assert all(job.logp[1] == 0 > job.full_logp[1] for job in seen.values())  # the end alone


def test_neighbours_draw_as_without_it(engine):
    free = [dataclasses.replace(ask(None, seed, max_new=9), law=Law(0.8)) for seed in range(3)]
    alone = engine.run(free)
    mixed = engine.run([ask(VERDICT), free[0], ask(CHOICES), *free[1:]])
    for got, want in zip([mixed[1], *mixed[3:]], alone, strict=True):
        assert got.tokens == want.tokens
        np.testing.assert_allclose(got.logp, want.logp, atol=1e-5)
        np.testing.assert_allclose(got.full_logp, want.full_logp, atol=1e-5)


def test_what_cannot_be_met_is_refused(engine):
    cases = {
        "minLength (5) is greater than maxLength (2)": {"type": "string", "minLength": 5}
        | {"maxLength": 2},
        "anyOf is empty": {"enum": []},
        "Invalid type: wizard": {"type": "wizard"},
        "uniqueItems": {"type": "array", "uniqueItems": True},
        "not present in a registry": {"$ref": "http://example.com/schema"},
        "of which none is empty": ("a", ""),
        "give a JSON schema, or a tuple": (),
    }
    for words, constraint in cases.items():
        with pytest.raises(ValueError, match="constraint") as refused:
            engine.submit(ask(constraint))
        assert words in str(refused.value)
    with pytest.raises(ValueError, match=r"max_new=3: the shortest choice .* takes 4 tokens"):
        engine.submit(ask(("long", "xyz"), max_new=3))
    with pytest.raises(ValueError, match="no end token"):
        tiny_engine.make(NoEnd).submit(Request((5,), 9, constraint={"type": "object"}))
    assert not engine.busy


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(ValueError, match=r"jaxrl\[chat\]"):
        Grammars(CHAT, CHAT.vocab_size).matcher({"type": "object"}, 9)


def test_an_automaton_at_its_limits_ends_its_reply_alone(engine):
    class Full:
        allowed = staticmethod(lambda: np.ones(tiny_engine.CHAT_MODEL.V, bool))
        take = staticmethod(lambda token: False)

    job, other = engine.submit(ask(CHOICES)), engine.submit(ask(CHOICES))
    job.matcher = Full()
    while engine.busy:
        engine.step()
    assert job.ending == "broken" and other.ending == "stop"


def test_the_law_of_allowed_tokens_is_the_law_of_their_logits():
    """Cuts too: as if the others had no place in the vocabulary."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4, 301)).astype(np.float32)
    allowed = rng.random((4, 301)) < 0.2
    allowed[0], allowed[1, 1:] = True, False
    allowed[1, 0] = True
    u = jnp.linspace(0.05, 0.9, 4)
    draw = jax.jit(distributions.draw_each)
    for law in (Law(), Law(0.0), Law(0.7, top_k=5), Law(0.7, top_k=200, top_p=0.8)):
        rows = distributions.Laws(*(jnp.full(4, x) for x in dataclasses.astuple(law)))
        token, logp, full = draw(logits, u, rows, allowed)
        want = distributions.law_logp(np.where(allowed, logits, -1e30), law)
        np.testing.assert_allclose(logp, want[np.arange(4), token], atol=1e-5)
        assert allowed[np.arange(4), token].all()
        every = jax.nn.log_softmax(logits / (law.temperature or 1), axis=1)
        np.testing.assert_allclose(full, every[np.arange(4), token], atol=1e-5)
