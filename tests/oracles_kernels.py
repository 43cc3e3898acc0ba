"""Oracles of the numeric kernels: numpy loops in float64, in the notation of the docstrings."""

import numpy as np


def backward_recurrence(a, b):
    """x_t = b_t + a_t x_{t+1}, x_T = 0, row by row from the end."""
    x = np.zeros(b.shape)
    for i in range(len(b)):
        after = 0.0
        for t in reversed(range(b.shape[1])):
            x[i, t] = after = b[i, t] + a[i, t] * after
    return x


def scored(hidden, tokens, slot, parent):
    """Every scored token of every row, with the hidden state that predicts it."""
    rows, targets = [], []
    for n in range(len(tokens)):
        for m in range(slot.shape[1]):
            rows.append(hidden[n, parent[n, m]])
            targets.append(tokens[n, slot[n, m]])
    return np.stack(rows), np.array(targets)


def token_logprobs(hidden, head, target, temperature):
    """log p_target and −Σ_v p_v log p_v, p = softmax(head h / temperature), token by token."""
    logp, entropy = [], []
    for h, v in zip(hidden.astype(np.float64), target, strict=True):
        log_p = _log_softmax(head.astype(np.float64) @ h / temperature)
        logp.append(log_p[v])
        entropy.append(-(np.exp(log_p) * log_p).sum())
    return np.array(logp), np.array(entropy)


def law_logp(logits, temperature, top_k, top_p):
    """The sampling law by sorting: the k largest, then the fewest of mass ≥ top_p; ties stay."""
    out = np.full(logits.shape, -np.inf)
    for b, row in enumerate(logits.astype(np.float64)):
        if temperature == 0:
            out[b, row.argmax()] = 0.0
            continue
        x = row / temperature
        order = sorted(range(len(x)), key=lambda v: -x[v])
        if top_k:
            order = [v for v in order if x[v] >= x[order[min(top_k, len(x)) - 1]]]
        p = np.exp(_log_softmax(x[order]))
        count = 1
        while top_p < 1 and p[:count].sum() < top_p:
            count += 1
        if top_p < 1:
            order = [v for v in order if x[v] >= x[order[count - 1]]]
        out[b, order] = _log_softmax(x[order])
    return out


def _log_softmax(x):
    x = x - x.max()
    return x - np.log(np.exp(x).sum())


def experts(x, router, gate, up, down, top_k, norm_top_k):
    """Token by token, expert by expert: (y [X, D], choices [X, k], p [X, E])."""
    y, chosen, prob = np.zeros_like(x), [], []
    for i, token in enumerate(x):
        z = token @ router
        p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        best = sorted(range(len(p)), key=lambda e: -p[e])[:top_k]
        total = sum(p[e] for e in best) if norm_top_k else 1.0
        for e in best:
            a = token @ gate[e]
            y[i] += p[e] / total * ((a / (1 + np.exp(-a)) * (token @ up[e])) @ down[e])
        chosen.append(best)
        prob.append(p)
    return y, chosen, prob


def balance(layers, E):
    """E Σ_e f_e P_e over the (chosen, prob) of all layers and tokens."""
    f, P, tokens = np.zeros(E), np.zeros(E), 0
    for chosen, prob in layers:
        for best, p in zip(chosen, prob, strict=True):
            tokens += 1
            P += p
            for e in best:
                f[e] += 1
    return E * sum(f / tokens * P / tokens)


def bidirectional(q, k, v, valid):
    """y_i = Σ_j softmax_j(q_i·k_j / √d) v_j over the valid j, head by head and query by query."""
    y = np.zeros(q.shape)
    for n, i, h in np.ndindex(q.shape[:3]):
        keys = np.flatnonzero(valid[n])
        s = k[n, keys, h].astype(np.float64) @ q[n, i, h] / np.sqrt(q.shape[3])
        w = np.exp(s - s.max())
        y[n, i, h] = (w / w.sum()) @ v[n, keys, h]
    return y
