"""The feed-forward of a mixture of experts, as Qwen3-MoE has it, its statistics and its balance.

    y = Σ_{e ∈ top-k of p} g_e FFN_e(x),   p = softmax(W_r x),   g = p over the top k, or p / Σ_k p

Every choice of the router is computed: there is no capacity, and no token is dropped. Left out:
shared experts, router biases and noise, which other families have, and dense layers among sparse.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from jaxrl.models.spec import Spec
from jaxrl.ops import grouped
from jaxrl.parallel import rules


class Routing(NamedTuple):
    """What the routers chose, as sums over the tokens that count; parts of a batch add up."""

    picks: jax.Array  # [L, E] f32: choices that fell on each expert
    prob: jax.Array  # [L, E] f32: Σ p, where gradients of a balance loss enter
    entropy: jax.Array  # [L] f32, nats
    tokens: jax.Array  # [L] f32
    dropped: jax.Array  # [L] f32: choices that no device computed, padding included


def specs(c):
    """The parameters of one layer; c: decoder.Config with experts, F being the width of one."""
    wide = ("expert", "embed", "expert_mlp")
    return {
        "router": Spec((c.D, c.E), ("embed", None)),
        "expert_gate": Spec((c.E, c.D, c.F), wide),
        "expert_up": Spec((c.E, c.D, c.F), wide),
        "expert_down": Spec((c.E, c.F, c.D), ("expert", "expert_mlp", "embed")),
    }


def feed_forward(p, x, c, counted=None):
    """The layer above, without norm and residual; the router's softmax is in f32.

    x: [N, W, D] or [B, D]; counted: bool of x's leading shape, the tokens that Routing counts.
    returns: y of x's shape and type, and the sums of one layer, None if nothing is to be counted.
    """
    # Rounded as the sampler holds it, or the two would choose other experts at a near tie.
    router_DE = p["router"].astype(x.dtype)
    logits = jnp.einsum("...d,de->...e", x, router_DE, preferred_element_type=jnp.float32)
    prob = jax.nn.softmax(logits)
    weight, expert = jax.lax.top_k(prob, c.top_k)
    if c.norm_top_k:
        weight = weight / weight.sum(-1, keepdims=True)
    matrices = [p["expert_gate"], p["expert_up"], p["expert_down"]]
    y, dropped = _on_each_device(*matrices, x, weight, expert)
    return y, None if counted is None else _sums(logits, prob, expert, counted, dropped)


def balance(routing):
    """E Σ_e f_e P_e: k where all experts are chosen alike, up to E where k = 1 and one has all.

    f_e: choices of expert e a token, P_e: its mean probability, both over all layers together.
    Fedus et al. 2021 (Switch), arXiv:2101.03961, eq. 4-6, with top k and layers as transformers'
    load_balancing_loss_func has them. Here over the whole batch, as in arXiv:2501.11873.
    """
    tokens = jnp.maximum(routing.tokens.sum(), 1)
    share_E, prob_E = routing.picks.sum(0) / tokens, routing.prob.sum(0) / tokens
    return routing.picks.shape[1] * (share_E * prob_E).sum()


def balance_slope(routing):
    """d balance / d(Σ p) [E]: choices have no gradient, so with these of the whole batch the loss
    is linear in the sums of its parts."""
    tokens = jnp.maximum(routing.tokens.sum(), 1)
    return routing.picks.shape[1] * routing.picks.sum(0) / tokens**2


def metrics(routing):
    """Numbers for the log (training/metrics.SCHEMA), from the sums of a whole batch."""
    picks, tokens = routing.picks, jnp.maximum(routing.tokens.sum(), 1)
    load_L = picks.max(1) / jnp.maximum(picks.mean(1), 1e-9)
    return {
        "router/load": load_L.mean(),
        "router/load_worst": load_L.max(),
        "router/entropy": routing.entropy.sum() / tokens,
        "router/dropped": routing.dropped.sum() / jnp.maximum(picks.sum(), 1),
        "router/balance": balance(routing),
    }


def _sums(logits, prob, expert, counted, dropped):
    total = lambda x: jnp.where(counted[..., None], x, 0).sum(tuple(range(counted.ndim)))
    chosen = (expert[..., None] == jnp.arange(prob.shape[-1])).any(-2)
    entropy = -(prob * jax.nn.log_softmax(logits)).sum(-1, keepdims=True)
    sums = [total(x.astype(jnp.float32)) for x in (chosen, prob, entropy)]
    return Routing(*sums[:2], sums[2][0], counted.sum().astype(jnp.float32), dropped)


def _on_each_device(gate, up, down, x, weight, expert):
    """`_experts`, each device of a mesh with its own tokens and its own experts."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        y, done = _experts(gate, up, down, x, weight, expert, 0)
        return y, expert.size - done.astype(jnp.float32)
    lead = ("batch", "time")[: x.ndim - 1]
    tokens = rules.spec(rules.TRAIN, *lead, None)
    experts = rules.spec(rules.TRAIN, "expert", None, None)
    split = rules.names(rules.TRAIN["expert"])

    def own(gate, up, down, x, weight, expert):
        first = jax.lax.axis_index(split) * len(gate)
        y, done = _experts(gate, up, down, x, weight, expert, first)
        return jax.lax.psum(y, split), jax.lax.psum(done, mesh.axis_names)

    in_specs = (experts,) * 3 + (tokens,) * 3
    out_specs = tokens, PartitionSpec()
    y, done = jax.shard_map(own, in_specs=in_specs, out_specs=out_specs, check_vma=False)(
        gate, up, down, x, weight, expert
    )
    return y, expert.size - done.astype(jnp.float32)


def _experts(gate, up, down, x, weight, expert, first):
    """Σ over those choices that fall on these experts, number `first` being the first of them.

    gate, up: [E, D, F]; down: [E, F, D]; x: [.., D]; weight, expert: [.., k].
    returns: y [.., D], the number of choices computed.
    """
    E, k = len(gate), expert.shape[-1]
    own = expert.reshape(-1) - first
    own = jnp.where((own >= 0) & (own < E), own, E)  # those of other devices come last
    order = jnp.argsort(own)
    count_E = (own[:, None] == jnp.arange(E)).sum(0, dtype=jnp.int32)
    take = lambda rows, at: rows.at[at].get(unique_indices=True, mode="promise_in_bounds")
    rows = take(jnp.repeat(x.reshape(-1, x.shape[-1]), k, axis=0), order)
    h = jax.nn.silu(grouped.product(rows, gate, count_E)) * grouped.product(rows, up, count_E)
    y = take(grouped.product(h, down, count_E), jnp.argsort(order))
    y = y.reshape(*expert.shape, -1) * weight[..., None]  # f32: weights are
    return y.sum(-2).astype(x.dtype), count_E.sum()
