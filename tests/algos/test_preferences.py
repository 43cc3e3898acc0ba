"""Preference losses: oracles through packed rows, gradients, micro-batches, what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles_losses
import pytest

from configs import base
from jaxrl import records
from jaxrl.algos import preferences
from jaxrl.algos.preferences import PreferenceConfig
from jaxrl.ops import preference_losses

N, M, PAIRS = 3, 32, 3
CONFIGS = {name: PreferenceConfig(name=name) for name in preferences.PREFERENCES}


def batch(seed):
    """(logp, rows): pairs of responses of 1 to 5 tokens side by side, junk behind and between."""
    rng = np.random.default_rng(seed)
    fields = {k: np.zeros((N, M), np.float32) for k in ("mask", "adv", "old_logp", "sampler_logp")}
    fields |= {k: np.zeros((N, M), np.int32) for k in ("sample", "group", "tokens", "slot")}
    for n in range(N):
        at = 0
        for s in range(2 * PAIRS):
            length = rng.integers(1, 6)
            here = np.s_[n, at : at + length]
            fields["mask"][here] = 1
            fields["adv"][here] = 1 - 2 * (s % 2)
            fields["sample"][here], fields["group"][here] = s, s // 2
            at += length
    junk = rng.choice(np.float32([np.nan, np.inf, -np.inf]), (N, M))
    draw = lambda: np.where(fields["mask"] > 0, -rng.exponential(size=(N, M)), junk)
    logp, fields["ref_logp"] = (draw().astype(np.float32) for _ in range(2))
    fields["prepared"] = np.zeros((N, M), np.float32)
    fields |= {k: fields["slot"] for k in ("position", "lo", "hi", "parent")}
    return logp, records.Rows(**fields)


def unpaired(rows):
    """The second of each two responses is another's; labels are alternately 1 and −1."""
    side = np.where(rows.sample % 4 == 0, 1, -1) * (rows.sample % 2 == 0)
    return rows.replace(adv=np.float32(side) * rows.mask)


def ready(name, logp, rows):
    if name != "kto":
        return rows
    rows = jax.tree.map(jnp.asarray, unpaired(rows))
    made = preferences.prepare(CONFIGS[name])
    return rows.replace(prepared=np.asarray(made(jnp.asarray(logp), jnp.zeros_like(logp), rows)))


@functools.partial(jax.jit, static_argnums=2)
def loss(logp, rows, c):
    f = lambda x: preferences.PREFERENCES[c.name](x, jnp.zeros_like(x), rows, c)
    return jax.value_and_grad(f, has_aux=True)(logp)


def totals(x, rows):
    """{(row, response): (sum of x, tokens)}."""
    found = oracles_losses.responses(rows.mask, rows.sample)
    return {key: (sum(float(x[key[0], m]) for m in ms), len(ms)) for key, ms in found.items()}


@pytest.mark.parametrize("name", [k for k in CONFIGS if k != "kto"])
def test_pairs_match_the_formula(name):
    c = CONFIGS[name]
    for seed in range(3):
        logp, rows = batch(seed)
        new, ref = totals(logp, rows), totals(rows.ref_logp, rows)
        want = []
        for n in range(N):
            for s in range(0, 2 * PAIRS, 2):
                (won, a), (lost, b) = new[n, s], new[n, s + 1]
                refs = ref[n, s][0], ref[n, s + 1][0]
                want.append(oracles_losses.preference(name, won, lost, *refs, a, b, c))
        (total, stats), _ = loss(logp, rows, c)
        losses, margins = map(np.asarray, zip(*want, strict=True))
        assert stats["weight"] == len(want) == N * PAIRS
        np.testing.assert_allclose(total, losses.sum(), rtol=1e-5)
        np.testing.assert_allclose(stats["preference/margin"], margins.sum(), rtol=1e-4, atol=1e-5)
        assert stats["preference/accuracy"] == (margins > 0).sum()


def test_kto_matches_the_formula():
    c = PreferenceConfig(name="kto", desirable=1.5, undesirable=0.5)
    seen = set()
    for seed in range(4):
        logp, rows = batch(seed)
        rows = jax.tree.map(np.asarray, ready("kto", logp, rows))
        new, ref = totals(logp, rows), totals(rows.ref_logp, rows)
        others = [new[k][0] - ref[k][0] for k in new if k[1] % 2]
        kept = [k for k in new if k[1] % 2 == 0]
        want = [oracles_losses.kto(new[k][0], ref[k][0], k[1] % 4 == 0, others, c) for k in kept]
        (total, stats), _ = loss(logp, rows, c)
        assert stats["weight"] == len(kept) == N * PAIRS
        np.testing.assert_allclose(total, sum(want), rtol=1e-5)
        seen.add(sum(others) > 0)
    assert seen == {True, False}  # the baseline is cut off at 0


@pytest.mark.parametrize("name", list(CONFIGS))
def test_gradients_are_finite_and_parts_add_up(name):
    """Junk under the mask, NaN among it; micro-batches give the sums of the batch."""
    logp, rows = batch(1)
    rows = ready(name, logp, rows)
    whole = loss(logp, rows, CONFIGS[name])
    slope = np.asarray(whole[1])
    assert np.isfinite(slope).all() and (slope[rows.mask == 0] == 0).all() and (slope != 0).any()
    split = []
    for part in ([0], [1, 2]):
        on = np.isin(np.arange(N), part)[:, None]
        split.append(
            loss(
                logp, jax.tree.map(lambda x: np.where(on, x, np.zeros_like(x)), rows), CONFIGS[name]
            )
        )
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
    jax.tree.map(lambda w, *s: close(sum(s), w), whole, *split)


@pytest.mark.parametrize("name", list(CONFIGS))
def test_no_pairs_are_no_loss(name):
    logp, rows = batch(0)
    rows = ready(name, logp, jax.tree.map(np.zeros_like, rows))
    result = loss(np.full_like(logp, np.nan), rows, CONFIGS[name])
    assert all((np.asarray(x) == 0).all() for x in jax.tree.leaves(result))


def test_extreme_log_probs_stay_finite():
    """A certain response has infinite odds, a hopeless one a probability of 0."""
    certain, hopeless, one = jnp.float32([0.0, -1e-9]), jnp.float32([-1e4, -1e3]), jnp.ones(2)
    f = lambda x, y: preference_losses.orpo(x, y, one, one, weight=0.1)[0].sum()
    g = lambda x, y: preference_losses.dpo(x, y, 0 * x, 0 * y, beta=5.0)[0].sum()
    for pair in ((certain, hopeless), (hopeless, certain)):
        for loss in (f, g):
            value, slopes = jax.value_and_grad(loss, argnums=(0, 1))(*pair)
            assert np.isfinite(value) and all(np.isfinite(x).all() for x in slopes)


def test_a_config_file_has_the_keys_of_the_loss():
    c = base.preference().loss
    assert PreferenceConfig(**c) == PreferenceConfig()
    assert set(preferences.OPTIONS) == set(preferences.PREFERENCES)


@pytest.mark.parametrize(
    "bad, error, message",
    [
        (dict(name="dpo2"), KeyError, "loss.name='dpo2'.*dpo"),
        (dict(beta=0.0), ValueError, "loss.beta=0.0: give"),
        (dict(gamma=1.0), ValueError, "loss.gamma=1.0: loss.name='dpo' does not take it"),
        (dict(name="bradley_terry", beta=0.1), ValueError, "loss.beta=0.1.*does not take it"),
        (dict(name="simpo", gamma=-1.0), ValueError, "loss.gamma=-1.0: give"),
    ],
)
def test_bad_values_name_key_value_and_fix(bad, error, message):
    with pytest.raises(error, match=message):
        PreferenceConfig(**bad)
