"""Which scheme ranks a group best when the judge errs: ArenaRL's claim, simulated.

    python -m launch.bench judge_noise --csv=noise.csv --plot=noise.png

Groups of 16 with true utilities u ~ N(0, 1), so that σ_noise is in units of σ_group. A judge call
that reads a response of utility u gives u + ε, with ε of standard deviation σ_noise. The paper
(arXiv:2601.06487) says neither how ε is distributed nor what calls share; our choice:

    independent   each score of each call errs on its own; N(0, σ²)
    shared        half of the variance is the call's own leniency, the same for all it reads: a
                  comparison cancels it, a pointwise score does not
    coarse        independent, then rounded to whole units on a grid placed at random a group

A pointwise call reads one response; a comparison is two calls (both orders, summed), each reading
two. "pointwise" is N calls, GRPO as usual. "pointwise, 2c calls" scores again until the topology's
calls are used up and averages (a remainder goes to the first members); that supposes that a judge
asked twice errs anew, in the pointwise schemes' favour. Two players that meet twice (in Swiss or a
bracket) get the same scores again, as from a judge at temperature 0. Calls are counted, not tokens:
those of a comparison are about twice as long.

Measured a group, against u: Kendall τ_b, Spearman ρ, cosine of the advantage vector with the
standardised u, and regret, max u − u of the best-ranked (mean over ties). 95 % intervals: of the
mean over seeds, by Student's t.
"""

import csv
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.ops import tournament
from launch.benches import tables

N, GROUPS, SEEDS = 16, 256, 16
LEVELS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)  # σ_noise / σ_group
T_95 = 2.131  # of Student's t with SEEDS − 1 degrees of freedom
SHARED = 0.5  # of the variance
TOPOLOGIES = ("anchor", "single_elimination", "double_elimination", "swiss", "round_robin")
METRICS = ("kendall", "spearman", "cosine", "regret")
MODELS = {  # the error of one score, of variance 1, from one of its own and one of its call
    "independent": lambda own, call: own,
    "shared": lambda own, call: (1 - SHARED) ** 0.5 * own + SHARED**0.5 * call,
    "coarse": lambda own, call: own,
}


def run(peer, csv_file=None, plot_file=None):
    """Yields a row a scheme at σ_noise = σ_group; writes all of them to the files asked for."""
    if peer is not None:
        raise ValueError(
            f"--peer={peer}: judge_noise compares schemes, not libraries: leave it out"
        )
    table = []
    for model in MODELS:
        found = {level: _measured(model, level) for level in LEVELS}
        table += [entry for entries in found.values() for entry in entries]
        yield from _rows(model, found[1.0])
    if csv_file:
        _write(table, csv_file)
    if plot_file:
        from launch.benches import judge_noise_plot  # needs matplotlib

        judge_noise_plot.draw(table, plot_file)


def schemes():
    """Scheme -> its judge calls a group, in the order of cost."""
    costs = {topology: 2 * tournament.comparisons(topology, N) for topology in TOPOLOGIES}
    pointwise = {f"pointwise, {calls} calls": calls for calls in sorted(set(costs.values()))}
    return dict(sorted(({"pointwise": N} | costs | pointwise).items(), key=lambda item: item[1]))


def _measured(model, level):
    """One dict a scheme: mean of each metric over seeds, with its interval."""
    seeds = [_seed(model, level, jax.random.key(seed)) for seed in range(SEEDS)]
    entries = []
    for scheme, calls in schemes().items():
        entry = {"model": model, "noise": level, "scheme": scheme, "calls": calls}
        entry["comparisons"] = calls // 2 if scheme in TOPOLOGIES else 0
        for metric in METRICS:
            x = np.array([seed[scheme][metric] for seed in seeds])
            half = T_95 * x.std(ddof=1) / len(x) ** 0.5
            entry[metric], entry[f"{metric}_low"], entry[f"{metric}_high"] = (
                x.mean(),
                x.mean() - half,
                x.mean() + half,
            )
        entries.append(entry)
    return entries


@functools.partial(jax.jit, static_argnames="model")
def _seed(model, level, key):
    """{scheme: {metric: mean over the groups of one seed}}."""
    keys = jax.random.split(key, 5)
    u = jax.random.normal(keys[0], (GROUPS, N))
    shift = jax.random.uniform(keys[1], (GROUPS, 1)) if model == "coarse" else None
    point = _pointwise(model, level, u, shift, keys[2])
    pairs = _matches(model, level, u, shift, keys[3])
    adv = {}
    for scheme, calls in schemes().items():
        if scheme in TOPOLOGIES:
            rank = tournament.rank(scheme, pairs, key=keys[4])[0]
            adv[scheme] = tournament.rank_advantage(rank)
        else:
            adv[scheme] = _standardised(_averaged(point, calls))
    return {scheme: {m: v.mean() for m, v in _metrics(a, u).items()} for scheme, a in adv.items()}


def _judged(model, level, u, own, call, shift):
    score = u + level * MODELS[model](own, call)
    return score if shift is None else jnp.round(score + shift) - shift


def _pointwise(model, level, u, shift, key):
    """Scores of the dearest scheme's calls, [calls, GROUPS, N]."""
    calls = -(-max(schemes().values()) // N)
    own, call = jax.random.normal(key, (2, calls, *u.shape))
    return _judged(model, level, u, own, call, shift)


def _averaged(scores, calls):
    """Means over `calls` calls a group, the remainder of which goes to the first members."""
    each, left = divmod(calls, N)
    count = each + (jnp.arange(N) < left)
    counts = jnp.arange(len(scores))[:, None, None] < count
    return jnp.where(counts, scores, 0).sum(0) / count


def _matches(model, level, u, shift, key):
    """What i gets when it meets j, the two orders' calls summed: [GROUPS, N, N]."""
    keys = jax.random.split(key)
    own = jax.random.normal(keys[0], (2, GROUPS, N, N))
    call = jnp.triu(jax.random.normal(keys[1], (2, GROUPS, N, N)), 1)
    call += jnp.swapaxes(call, -1, -2)  # both sides of a call share its leniency
    shift = None if shift is None else shift[..., None]
    return _judged(model, level, u[:, :, None], own, call, shift).sum(0)


def _standardised(x):
    deviation = x - x.mean(-1, keepdims=True)
    return deviation / (x.std(-1, ddof=1, keepdims=True) + 1e-6)


def _metrics(adv, u):
    # Compared, not subtracted: a product fused into a difference is not rounded, and ties break.
    above = lambda x: (x[..., :, None] > x[..., None, :]).astype(jnp.float32)
    sign = lambda x: above(x) - above(-x)
    place = lambda x: sign(x).sum(-1)  # average ranks, up to scale
    best = adv == adv.max(-1, keepdims=True)
    return {
        "kendall": _cosine(*(sign(x).reshape(len(x), -1) for x in (adv, u))),
        "spearman": _cosine(place(adv), place(u)),
        "cosine": _cosine(adv, _standardised(u)),
        "regret": u.max(-1) - jnp.where(best, u, 0).sum(-1) / best.sum(-1),
    }


def _cosine(a, b):
    """0 where all of a is 0: equal scores for all teach nothing."""
    norm = jnp.linalg.norm(a, axis=-1) * jnp.linalg.norm(b, axis=-1)
    return jnp.where(norm > 0, (a * b).sum(-1) / jnp.where(norm > 0, norm, 1), 0)


def _rows(model, entries):
    by_name = {entry["scheme"]: entry for entry in entries}
    for topology in TOPOLOGIES:
        ours = by_name[topology]
        peer = f"pointwise, {ours['calls']} calls"
        case = f"{model}, σ_noise = σ_group, {topology} ({ours['calls']} calls)"
        yield tables.Row(
            case, float(ours["cosine"]), "cosine", peer, float(by_name[peer]["cosine"])
        )
    plain = float(by_name["pointwise"]["cosine"])
    yield tables.Row(f"{model}, σ_noise = σ_group, pointwise ({N} calls)", plain, "cosine")


def _write(table, path):
    with pathlib.Path(path).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(
            {k: f"{v:.5f}" if isinstance(v, np.floating) else v for k, v in row.items()}
            for row in table
        )
