import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles_embedding as oracles
import pytest

from jaxrl.algos import embedding_objectives
from jaxrl.algos.embedding_objectives import CONTRASTIVE, OPTIONS, ContrastiveConfig
from jaxrl.ops.contrastive_losses import Labels

N, K, D = 4, 3, 8
RNG = np.random.default_rng(0)
DRAW = {"query": RNG.normal(size=(N, D)), "document": RNG.normal(size=(N, K, D))}
UNIT = {kind: oracles.unit(v) for kind, v in (DRAW | {"prompt": RNG.normal(size=(N, D))}).items()}
GRADES = RNG.permuted(np.tile(np.arange(K), (N, 1)), axis=1)
REAL = np.array([True, True, True, False])
THERE = np.array([[1, 1, 1], [1, 1, 0], [1, 1, 1], [1, 1, 1]], bool) & REAL[:, None]


def batch():
    """Vectors with NaN where nothing is, labels and grades."""
    keep = {"query": REAL[:, None], "prompt": REAL[:, None], "document": THERE[..., None]}
    e = {kind: np.where(keep[kind], v, np.nan).astype(np.float32) for kind, v in UNIT.items()}
    ids = np.arange(N * K, dtype=np.int32).reshape(N, K)
    labels = Labels(ids, THERE | ~REAL[:, None], REAL.astype(np.float32), np.zeros(N, bool))
    return e, labels, np.where(THERE, GRADES, np.nan).astype(np.float32)


def cosines(kind):
    return np.array([[oracles.s(UNIT[kind][n], d) for d in UNIT["document"][n]] for n in range(N)])


def nce(qq, dd, margin, tau):
    ids = np.arange(N * K).reshape(N, K)
    known = ids, THERE, REAL, np.zeros(N, bool)
    return oracles.info_nce(
        UNIT["query"], UNIT["document"], *known, tau, margin, qq, dd, others_negatives=True
    )[0]


def e2rank():
    """The mean over rows and λ times the mean over pairs, times the rows."""
    total, pairs = oracles.rank_net(cosines("prompt"), -GRADES, THERE, 0.1)
    rows = nce(False, False, np.inf, 0.2)
    return sum(rows.values()) + 2 * len(rows) * total / pairs


CASES = {  # name -> (options, the sum)
    "info_nce": (
        {"query_query": True, "document_document": True},
        lambda: sum(nce(True, True, 0.1, 0.2).values()),
    ),
    "symmetric_info_nce": (
        {},
        lambda: sum(
            oracles.symmetric(
                UNIT["query"], UNIT["document"], np.arange(12).reshape(N, K), THERE, REAL, 0.2
            ).values()
        ),
    ),
    "cosent": (
        {},
        lambda: oracles.cosent(cosines("query")[:, 0], GRADES[:, 0], THERE[:, 0], 0.2)[0],
    ),
    "distillation": (
        {"teacher_temperature": 2.0},
        lambda: oracles.list_net(cosines("query"), GRADES, THERE, 0.2, 2.0),
    ),
    "margin_mse": ({}, lambda: oracles.margin_mse(cosines("query"), GRADES, THERE)[0]),
    "list_mle": ({}, lambda: oracles.list_mle(cosines("query"), GRADES, THERE, 0.2)),
    "lambda_loss": (
        {"mu": 5.0},
        lambda: oracles.lambda_loss(cosines("query"), GRADES, THERE, 0.2, 5.0)[0],
    ),
    "e2rank": ({}, e2rank),
}


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_an_objective_is_its_loop(name):
    options, oracle = CASES[name]
    options = options | ({"temperature": 0.2} if "temperature" in OPTIONS[name] else {})
    c = ContrastiveConfig(name=name, **options)
    e, labels, target = batch()
    total, stats = jax.jit(lambda e: CONTRASTIVE[name](e, labels, target, c, None))(e)
    np.testing.assert_allclose(total, oracle(), rtol=1e-4)
    assert stats["weight"] > 0


def test_what_is_not_there_gets_no_gradient():
    """The cosines of a row with itself are the objectives' own: NaN came back through them."""
    e, labels, target = batch()
    c = ContrastiveConfig(name="margin_mse")
    run = lambda e: CONTRASTIVE[c.name](e, labels, target, c, None)[0]
    grads = jax.jit(jax.grad(run))(e)
    assert all(np.isfinite(g).all() for g in grads.values())
    assert grads["document"][THERE].any() and not grads["document"][~THERE].any()


def test_evaluate_is_the_objective_on_prefixes_in_few_bits():
    parts = {"dims": (8, 4), "dim_weights": (1.0, 0.5)}
    bits = {"formats": ("int8",), "quantized_weight": 2.0}
    c = ContrastiveConfig(name="cosent", temperature=0.2, **parts, **bits)
    e, labels, target = batch()
    e = {kind: 3 * np.nan_to_num(v, nan=1) for kind, v in e.items()}
    steps = embedding_objectives.initial_steps(jnp.asarray(e["document"].reshape(-1, D)), c)
    assert set(steps) == {"8", "4"} and steps["4"] > steps["8"]
    run = functools.partial(embedding_objectives.evaluate, c=c)
    run = jax.jit(jax.value_and_grad(run, argnums=(0, 1), has_aux=True))
    (total, stats), grads = run(steps, e, labels, target)

    def one(m, lower):
        q, d = (lower(oracles.unit(UNIT[kind][..., :m])) for kind in ("query", "document"))
        cos = [oracles.s(*map(oracles.unit, (q[n], d[n, 0]))) for n in range(N)]
        return oracles.cosent(cos, GRADES[:, 0], THERE[:, 0], 0.2)[0]

    want = 0
    for m, weight in ((8, 1.0), (4, 0.5)):
        int8 = lambda v, m=m: oracles.lsq(v, float(steps[str(m)]), v)[0]
        want += weight * (one(m, lambda v: v) + 2 * one(m, int8))
    np.testing.assert_allclose(total, want, rtol=1e-4)
    assert stats["weight"] == 1
    assert all(np.isfinite(g).all() and np.any(g) for g in grads[0].values())


@pytest.mark.parametrize(
    "options, words",
    [
        ({"name": "triplet"}, "loss.name='triplet'.*info_nce"),
        ({"temperature": 0.0}, "loss.temperature=0.0.*above 0"),
        ({"temperature": float("nan")}, "loss.temperature=nan"),
        ({"margin": -0.1}, "loss.margin=-0.1.*inf for no mask"),
        ({"name": "cosent", "margin": 0.1}, "loss.margin=0.1.*does not take it"),
        ({"dims": (8, 8)}, "loss.dims="),
        ({"dims": (0,)}, "loss.dims="),
        ({"dims": (8,), "dim_weights": (1.0, 1.0)}, "loss.dim_weights="),
        ({"formats": ("int4",)}, "loss.formats=.*int8"),
        ({"quantized_weight": -1.0}, "loss.quantized_weight=-1.0"),
        ({"name": "e2rank", "rank_weight": -1.0}, "loss.rank_weight=-1.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, words):
    with pytest.raises((ValueError, KeyError), match=words):
        ContrastiveConfig(**options)
