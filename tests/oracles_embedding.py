"""Losses of embedders as their papers write them: loops over rows and documents, numpy, float64.

s is the cosine throughout; tau, m_ij, d_ik as printed.
"""

import math

import numpy as np


def unit(v):
    """v / ‖v‖, a vector at a time."""
    v = np.asarray(v, np.float64)
    flat = [x / math.sqrt(sum(y * y for y in x)) for x in v.reshape(-1, v.shape[-1])]
    return np.array(flat).reshape(v.shape)


def s(a, b):
    """Cosine of two unit vectors."""
    return float(np.dot(np.asarray(a, np.float64), np.asarray(b, np.float64)))


def info_nce(q, d, ids, there, real, own_only, tau, margin, qq, dd, others_negatives):
    """Z_i term by term. q [N][D], d [N][K][D]; returns the loss of each real row and its masked."""
    N, K = len(d), len(d[0])
    losses, left_out, right = {}, {}, {}
    for i in (i for i in range(N) if real[i]):
        positive = s(q[i], d[i][0])
        terms, dropped, documents = [], 0, []

        def m(score, identical=False, bound=margin, positive=positive):
            return 0 if identical or score > positive + bound else 1

        for k in (k for k in range(1, K) if there[i][k]):  # (2) own hard negatives
            score = s(q[i], d[i][k])
            keep = m(score, ids[i][k] == ids[i][0])
            terms += [score] * keep
            documents += [score] * keep
            dropped += 1 - keep
        for j in range(N):
            if j == i or own_only[i] or own_only[j] or not real[j]:
                continue
            if qq:  # (3) other queries
                keep = m(s(q[i], q[j]), ids[j][0] == ids[i][0])
                terms += [s(q[i], q[j])] * keep
                dropped += 1 - keep
            for k in range(K if others_negatives else 1):
                if not there[j][k]:
                    continue
                identical = ids[j][k] == ids[i][0]
                if dd:  # (4) the positive and other documents
                    keep = m(s(d[i][0], d[j][k]), identical, bound=math.inf)
                    terms += [s(d[i][0], d[j][k])] * keep
                    dropped += 1 - keep
                score = s(q[i], d[j][k])  # (5) the query and other documents
                keep = m(score, identical)
                terms += [score] * keep
                documents += [score] * keep
                dropped += 1 - keep
        Z = math.exp(positive / tau) + sum(math.exp(x / tau) for x in terms)
        losses[i] = -math.log(math.exp(positive / tau) / Z)
        left_out[i] = dropped
        right[i] = all(x < positive for x in documents)
    return losses, left_out, right


def symmetric(q, d, ids, there, real, tau):
    """GVE: own negatives and other positives; then the document against the other queries."""
    N, K = len(d), len(d[0])
    losses = {}
    for i in (i for i in range(N) if real[i]):
        others = [j for j in range(N) if j != i and real[j] and ids[j][0] != ids[i][0]]
        e = lambda x: math.exp(x / tau)
        top = e(s(q[i], d[i][0]))
        own = [e(s(q[i], d[i][k])) for k in range(1, K) if there[i][k] and ids[i][k] != ids[i][0]]
        forth = -math.log(top / (top + sum(own) + sum(e(s(q[i], d[j][0])) for j in others)))
        back = -math.log(top / (top + sum(e(s(q[j], d[i][0])) for j in others)))
        losses[i] = (forth + back) / 2
    return losses


def cosent(cos, y, there, tau):
    """log(1 + Σ over pairs of pairs)."""
    at = [i for i in range(len(y)) if there[i]]
    pairs = [(a, b) for a in at for b in at if y[a] > y[b]]
    return math.log(1 + sum(math.exp((cos[b] - cos[a]) / tau) for a, b in pairs)), len(pairs)


def softmax(x):
    """Of a list."""
    e = [math.exp(v - max(x)) for v in x]
    return [v / sum(e) for v in e]


def list_net(scores, target, there, tau, tau_target):
    """Σ over lists of −Σ p log q."""
    total = 0.0
    for s_n, y_n, there_n in zip(scores, target, there, strict=True):
        at = [k for k in range(len(s_n)) if there_n[k]]
        if at:
            p = softmax([y_n[k] / tau_target for k in at])
            q = softmax([s_n[k] / tau for k in at])
            total -= sum(a * math.log(b) for a, b in zip(p, q, strict=True))
    return total


def list_mle(scores, target, there, tau):
    """Draw the documents in the right order without replacement: −log of that chance."""
    total = 0.0
    for s_n, y_n, there_n in zip(scores, target, there, strict=True):
        left = sorted((k for k in range(len(s_n)) if there_n[k]), key=lambda k: -y_n[k])
        while left:
            weights = [math.exp(s_n[k] / tau) for k in left]
            total -= math.log(weights[0] / sum(weights))
            left = left[1:]
    return total


def rank_net(scores, rank, there, tau):
    """Sum over pairs with r_j < r_k, and how many pairs there are."""
    total, pairs = 0.0, 0
    for s_n, r_n, there_n in zip(scores, rank, there, strict=True):
        at = [k for k in range(len(s_n)) if there_n[k]]
        for j in at:
            for k in at:
                if r_n[j] < r_n[k]:
                    total += math.log(1 + math.exp(s_n[k] / tau - s_n[j] / tau))
                    pairs += 1
    return total, pairs


def lambda_loss(scores, y, there, tau, mu):
    """Each misordered pair by the change of nDCG if it were swapped."""
    total, lists = 0.0, 0
    D = lambda r: math.log2(1 + r)
    for s_n, y_n, there_n in zip(scores, y, there, strict=True):
        at = [k for k in range(len(s_n)) if there_n[k]]
        best = sorted((2 ** y_n[k] - 1 for k in at), reverse=True)
        max_dcg = sum(g / D(r) for r, g in enumerate(best, start=1))
        r = {k: place for place, k in enumerate(sorted(at, key=lambda k: -s_n[k]), start=1)}
        pairs = [(i, j) for i in at for j in at if y_n[i] > y_n[j]]
        lists += bool(pairs)
        for i, j in pairs:
            gain = abs((2 ** y_n[i] - 1) - (2 ** y_n[j] - 1)) / max_dcg
            rho = abs(1 / D(r[i]) - 1 / D(r[j]))
            gap = abs(r[i] - r[j])
            delta = abs(1 / D(gap) - 1 / D(gap + 1))
            p = 1 / (1 + math.exp(-(s_n[i] - s_n[j]) / tau))
            total -= (rho + mu * delta) * gain * math.log2(p)
    return total, lists


def margin_mse(scores, teacher, there):
    """Sum over negatives, and how many."""
    terms = [
        ((s_n[0] - s_n[k]) - (t_n[0] - t_n[k])) ** 2
        for s_n, t_n, there_n in zip(scores, teacher, there, strict=True)
        for k in range(1, len(s_n))
        if there_n[0] and there_n[k]
    ]
    return sum(terms), len(terms)


def lsq(v, step, cotangent):
    """v̂ and the two gradients of Σ cotangent · v̂, number by number; g from the last axis."""
    low, high = -128, 127
    v_hat, d_v, d_step = np.zeros(v.shape), np.zeros(v.shape), 0.0
    for i in np.ndindex(v.shape):
        x = v[i] / step
        v_hat[i] = step * round(min(max(x, low), high))
        if low < x < high:
            d_v[i] = cotangent[i]
            d_step += cotangent[i] * (-x + round(x))
        else:
            d_step += cotangent[i] * (low if x <= low else high)
    return v_hat, d_v, d_step / math.sqrt(v.shape[-1] * high)
