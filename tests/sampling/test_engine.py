"""The engine: no schedule changes what is drawn, and what is said of it is the learner's."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from tiny_engine import NoEnd, make, requests

from jaxrl.models import decoder
from jaxrl.ops import distributions
from jaxrl.ops.distributions import Law
from jaxrl.sampling.engine import Engine, EngineConfig, Request

PARAMS = tiny.params()
LONGEST = 32  # tokens of a request here


@partial(jax.jit, static_argnames="model")
def forward(params, ids, temperature, model):
    """Log-probs after each token of one row, by the learner's forward pass."""
    zeros = jnp.zeros_like(ids)
    hidden = decoder.forward(params, ids, jnp.arange(ids.shape[1])[None], zeros, zeros + 1, model)
    return jax.nn.log_softmax(hidden[0] @ decoder.head(params).T / temperature)


def learners(job, temperature, params=PARAMS, model=tiny.MODEL):
    """Log-probs of what a job drew, from one pass over the whole sequence."""
    ids = np.zeros((1, LONGEST), np.int32)
    ids[0, : len(job.whole)] = job.whole
    logp = np.asarray(forward(params, ids, temperature, model))
    first = len(job.request.tokens)
    return np.array([logp[i - 1, job.whole[i]] for i in range(first, len(job.whole))])


@pytest.fixture(scope="module")
def drawn():
    return make().run(requests())


def test_requests_of_any_length_end_as_they_were_asked_to(drawn):
    assert [len(job.tokens) for job in drawn] == [job.request.max_new for job in drawn]
    assert {job.ending for job in drawn} == {"length"}


def test_full_log_probs_are_the_learners(drawn):
    for job in drawn:
        np.testing.assert_allclose(job.full_logp, learners(job, 0.7), atol=1e-4)
    assert np.std([x for job in drawn for x in job.full_logp]) > 0.5


@pytest.mark.parametrize(
    "changes",
    [
        {"slots": 1},
        {"pieces": 4, "slots": 4},
        {"steps": 1, "chunk": 3, "page": 16, "pages": 16},
        {"pages": 9},
    ],
    ids=[
        "one slot",
        "pieces of four prompts in a program",
        "large pages, a token and a small piece at a time",
        "hardly any room",
    ],
)
def test_no_schedule_changes_what_is_drawn(drawn, changes):
    engine = make(**changes)
    for got, want in zip(engine.run(requests()), drawn, strict=True):
        assert got.tokens == want.tokens
        np.testing.assert_allclose(got.logp, want.logp, atol=1e-4)
        np.testing.assert_allclose(got.full_logp, want.full_logp, atol=1e-4)
    assert (engine.evicted > 0) == ("pages" in changes and changes["pages"] == 9)


def test_pieces_of_like_length_are_one_program():
    """Prompts of 6, 6, 6 and 19 tokens to compute, in pieces of 8, four a round."""
    engine, shapes = make(slots=4, pieces=4), []
    prefill = engine._prefill
    engine._prefill = lambda *args: shapes.append(args[3].shape) or prefill(*args)
    asked = [Request(tuple(range(i, i + n)), 2) for i, n in ((5, 7), (50, 7), (90, 7), (120, 20))]
    assert all(len(job.tokens) == 2 for job in engine.run(asked))
    assert shapes == [(4, 8), (1, 8), (1, 8)]


def test_a_group_computes_its_prompt_once():
    engine, prompt = make(), tuple(range(5, 25))
    jobs = engine.run([Request(prompt, 4, seed=i) for i in range(6)])
    assert [job.prefilled for job in jobs] == [19] + [3] * 5  # 16 of 19 lie in whole pages
    assert len({tuple(job.tokens) for job in jobs}) == 6


def test_a_turn_computes_what_is_new_and_draws_as_if_all_were():
    engine = make()
    (first,) = engine.run([Request(tuple(range(5, 21)), 9)])
    turn = Request((*first.whole, 30, 31, 32), 4, Law(0.7), seed=4)
    (second,) = engine.run([turn])
    assert second.found == 24 and second.prefilled == 3  # 24 of 27 tokens lie in whole pages
    assert second.tokens == make().run([turn])[0].tokens
    np.testing.assert_allclose(second.full_logp, learners(second, 0.7), atol=1e-4)


def test_nothing_is_found_of_other_weights():
    engine, ask = make(), Request(tuple(range(5, 25)), 3)
    engine.run([ask])
    engine.load(jax.tree.map(lambda x: 1.1 * x, PARAMS))
    (job,) = engine.run([ask])
    assert job.found == 0 and job.prefilled == 19


def test_each_request_has_its_own_law():
    """Greedy, cut and free rows side by side: as each alone."""
    laws = [Law(0.0), Law(0.7, top_k=5), Law(1.3), Law(1.0, top_p=0.5)]
    asked = [dataclasses.replace(r, law=law) for r, law in zip(requests(4), laws, strict=True)]
    together = make().run(asked)
    for job, ask in zip(together, asked, strict=True):
        assert job.tokens == make().run([ask])[0].tokens
    assert together[0].logp == [0.0] * len(together[0].tokens)


def test_a_stop_string_and_an_end_token_end_a_request_where_they_stand():
    ask = [Request((7, 8), 12, Law(1.0), seed=seed) for seed in range(9)]
    text = lambda job: b"".join(tiny.TOKENIZER.token_bytes()[i] for i in job.tokens[4:6])
    free = next(job for job in make().run(ask) if text(job).isascii() and len(text(job)) > 1)
    stopped = dataclasses.replace(free.request, stop=("never", text(free).decode()))
    (job,) = make().run([stopped])
    assert job.ending == "stop" and job.tokens == free.tokens[: len(job.tokens)]
    assert text(free) in b"".join(tiny.TOKENIZER.token_bytes()[i] for i in job.tokens)
    assert len(job.tokens) <= 6

    class Ends(NoEnd):
        eos_ids = (free.tokens[3],)

    (job,) = make(Ends).run([free.request])
    first = free.tokens.index(free.tokens[3])
    assert job.ending == "stop" and job.tokens == free.tokens[: first + 1]


def test_a_cancelled_request_gives_its_pages_back():
    engine = make()
    room = engine.pages.room
    job, other = (engine.submit(request) for request in requests(2))
    engine.step()
    engine.cancel(job)
    while engine.busy:
        engine.step()
    assert job.ending == "cancelled" and other.ending == "length"
    assert engine.pages.room == room


@pytest.mark.parametrize(
    "ask, words",
    [
        (Request((), 3), "0 tokens"),
        (Request((5,), 0), "max_new=0"),
        (Request((5,) * 30, 20), "engine.page hold 32"),
        (Request((5,) * 60, 20), "ask for 80 positions"),
        (Request((5, 264), 3), "tokens \\[264\\] are outside the vocabulary of 264"),
        (Request((5,), 3, seed=2**31), "seed=2147483648"),
        (Request((5,), 3, stop=("a", "")), "an empty string stops everything"),
    ],
)
def test_what_could_never_be_served_is_refused(ask, words):
    with pytest.raises(ValueError, match=words):
        make(pages=8).submit(ask)


def test_weights_do_not_change_under_a_request():
    """Nor under one that was drawn in part, gave up its pages and waits."""
    engine = make(pages=9)
    jobs = [engine.submit(Request(tuple(range(3, 19)), 14, seed=seed)) for seed in range(2)]
    while not engine.evicted:
        engine.step()
    engine.cancel(jobs[0])
    assert jobs[1].tokens and not jobs[1].table
    with pytest.raises(RuntimeError, match="under way"):
        engine.load(PARAMS)


def test_an_engine_without_weights_takes_no_request():
    """Its first step would fail, and with it the requests of everyone else."""
    engine = Engine(tiny.MODEL, NoEnd, EngineConfig(slots=2, pages=8, page=4), jax.random.key(0))
    with pytest.raises(RuntimeError, match="without weights"):
        engine.submit(requests(1)[0])


def test_laws_of_rows_are_those_of_the_batch():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(5, 301)), jnp.float32)
    u = jnp.linspace(0.05, 0.9, 5)
    for law in (Law(), Law(0.0), Law(0.7, top_k=5), Law(0.7, top_k=20, top_p=0.8)):
        rows = distributions.Laws(*(jnp.full(5, x) for x in dataclasses.astuple(law)))
        got = distributions.draw_each(logits, u, rows)
        for x, y in zip(got, distributions.draw(logits, u, law), strict=True):
            np.testing.assert_allclose(x, y, atol=1e-6)
