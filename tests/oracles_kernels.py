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
