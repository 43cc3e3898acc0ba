"""Losses of embedders and rerankers against sentence-transformers' own, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.ops import contrastive_losses, embeddings, ranking_losses
from jaxrl.training import grad_cache

torch = pytest.importorskip("torch")
bi = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
cross = pytest.importorskip("sentence_transformers.cross_encoder.losses")

pytestmark = pytest.mark.peers
N, K, D = 6, 3, 12
RNG = np.random.default_rng(0)
QUERY, DOCUMENT = (RNG.normal(size=s).astype(np.float32) for s in ((N, D), (N, K, D)))


class Encoder(torch.nn.Sequential):
    """What those losses need of a bi-encoder; its features are {"input_ids": numbers}."""

    def forward(self, features):
        x = features["input_ids"]
        for layer in self:
            x = layer(x)
        return {"sentence_embedding": x}

    def get_embedding_dimension(self):
        return D


class Reader(torch.nn.Module):
    """What those losses need of a cross-encoder: the score of a pair is its document."""

    num_labels, device = 1, "cpu"

    def preprocess(self, pairs, prompt=None, task=None):
        return {"scores": torch.stack([document for _, document in pairs])}

    def forward(self, tokens):
        return tokens


def columns():
    """Queries, positives and negatives as torch leaves, not of unit length."""
    leaf = lambda x: torch.tensor(x, requires_grad=True)
    return [leaf(QUERY), *(leaf(DOCUMENT[:, k]) for k in range(K))]


def ours(loss):
    """Value and gradients of a loss of unit vectors, divided by its weight."""

    def mean(q, d):
        total, stats = loss(embeddings.normalize(q), embeddings.normalize(d))
        return total / stats["weight"]

    return jax.jit(jax.value_and_grad(mean, argnums=(0, 1)))(QUERY, DOCUMENT)


def agree(theirs, leaves, value, grads, tol=1e-5):
    theirs.backward()
    np.testing.assert_allclose(value, theirs.item(), rtol=tol)
    np.testing.assert_allclose(grads[0], leaves[0].grad, atol=tol)
    for k, leaf in enumerate(leaves[1:]):
        np.testing.assert_allclose(grads[1][:, k], leaf.grad, atol=tol)


@pytest.mark.parametrize("extra", [(), ("query_to_query",), ("query_to_query", "doc_to_doc")])
def test_info_nce_without_masks_is_multiple_negatives_ranking(extra):
    peer = bi.MultipleNegativesRankingLoss(Encoder(), directions=("query_to_doc", *extra))
    leaves = columns()
    knobs = {
        "temperature": 1 / 20,
        "margin": jnp.inf,
        "query_query": "query_to_query" in extra,
        "document_document": "doc_to_doc" in extra,
    }
    labels = contrastive_losses.plain_labels(N, K)
    got = ours(lambda q, d: contrastive_losses.info_nce(q, d, labels, **knobs))
    agree(peer.compute_loss_from_embeddings(leaves, None), leaves, *got)


def test_symmetric_info_nce_is_two_directions_apart():
    directions = ("query_to_doc", "doc_to_query")
    peer = bi.MultipleNegativesRankingLoss(
        Encoder(), directions=directions, partition_mode="per_direction"
    )
    leaves = columns()
    labels = contrastive_losses.plain_labels(N, K)
    got = ours(
        lambda q, d: contrastive_losses.symmetric_info_nce(
            q, d, labels, temperature=1 / 20, others_negatives=True
        )
    )
    agree(peer.compute_loss_from_embeddings(leaves, None), leaves, *got)


def test_cosent():
    leaves, gold = columns()[:2], np.float32([0, 1, 0.5, 0.5, 1, 0.2])
    theirs = bi.CoSENTLoss(Encoder()).compute_loss_from_embeddings(leaves, torch.tensor(gold))

    def loss(q, d):
        cosine_N = embeddings.own_cosines(q, d)[:, 0]
        return contrastive_losses.cosent(cosine_N, gold, np.ones(N, bool), temperature=1 / 20)

    agree(theirs, leaves, *ours(loss))


def test_margin_mse():
    from sentence_transformers.util import pairwise_cos_sim

    leaves, teacher = columns(), RNG.normal(size=(N, K)).astype(np.float32)
    peer = bi.MarginMSELoss(Encoder(), similarity_fct=pairwise_cos_sim)
    theirs = peer.compute_loss_from_embeddings(leaves, torch.tensor(teacher))
    every = np.ones((N, K), bool)
    scores = embeddings.own_cosines
    got = ours(lambda q, d: ranking_losses.margin_mse(scores(q, d), teacher, every))
    agree(theirs, leaves, *got)


def test_matryoshka():
    dims, weights = (D, 8, 4), (1.0, 0.5, 0.25)
    model = Encoder()
    peer = bi.MatryoshkaLoss(model, bi.MultipleNegativesRankingLoss(model), dims, weights)
    leaves = columns()
    theirs = peer([{"input_ids": x} for x in leaves], None)
    labels = contrastive_losses.plain_labels(N, K)
    one = lambda e: contrastive_losses.info_nce(*e, labels, temperature=1 / 20, margin=jnp.inf)
    got = ours(lambda *e: embeddings.matryoshka(one, e, dims=dims, weights=weights))
    agree(theirs, leaves, *got)


def test_cached_batches():
    """Both are exact, so both are the same, to the parameters of a network."""
    torch.manual_seed(0)
    layers = torch.nn.Linear(5, 16), torch.nn.Tanh(), torch.nn.Linear(16, D)
    model = Encoder(*layers)
    x = RNG.normal(size=(1 + K, N, 5)).astype(np.float32)
    peer = bi.CachedMultipleNegativesRankingLoss(model, mini_batch_size=2)
    theirs = peer([{"input_ids": torch.tensor(part)} for part in x], None)
    theirs.backward()
    params = {name: p.detach().numpy() for name, p in model.named_parameters()}

    def encode(p, part):
        h = jnp.tanh(part @ p["0.weight"].T + p["0.bias"])
        return embeddings.normalize(h @ p["2.weight"].T + p["2.bias"])

    def loss(_, e):
        labels = contrastive_losses.plain_labels(N, K)
        pair = e["query"], e["document"].reshape(N, K, D)
        total, stats = contrastive_losses.info_nce(
            *pair, labels, temperature=1 / 20, margin=jnp.inf
        )
        return total / stats["weight"], stats

    inputs = {"query": x[0], "document": x[1:].swapaxes(0, 1).reshape(N * K, 5)}
    micro = {"query": 2, "document": 3}
    (value, _), grads = grad_cache.value_and_grad(encode, loss, params, inputs, micro=micro)
    np.testing.assert_allclose(value, theirs.item(), rtol=1e-5)
    for name, p in model.named_parameters():
        np.testing.assert_allclose(grads[name], p.grad, atol=1e-5)


LISTS = {  # name -> (theirs, ours)
    "rank_net": (
        lambda m: cross.RankNetLoss(m, sigma=2.0, reduction_log="natural"),
        lambda s, y, there: ranking_losses.rank_net(s, y, there, temperature=0.5),
    ),
    "list_net": (cross.ListNetLoss, ranking_losses.list_net),
    "list_mle": (
        lambda m: cross.ListMLELoss(m, respect_input_order=False),
        ranking_losses.list_mle,
    ),
    "lambda_rank": (
        lambda m: cross.LambdaLoss(m, weighting_scheme=cross.LambdaRankScheme()),
        ranking_losses.lambda_loss,
    ),
    "ndcg_loss2++": (
        lambda m: cross.LambdaLoss(m, weighting_scheme=cross.NDCGLoss2PPScheme(mu=5.0)),
        lambda s, y, there: ranking_losses.lambda_loss(s, y, there, mu=5.0),
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_losses_on_ragged_lists(name):
    there = np.arange(5) < np.array([5, 3, 2, 4])[:, None]
    scores = RNG.normal(size=(4, 5)).astype(np.float32)
    grades = np.float32([[3, 0, 2, 1, 4], [1, 2, 0, 0, 0], [0, 1, 0, 0, 0], [2, 0, 3, 1, 0]])
    leaves = [torch.tensor(s[m], requires_grad=True) for s, m in zip(scores, there, strict=True)]
    theirs, mine = LISTS[name]
    labels = [torch.tensor(y[m]) for y, m in zip(grades, there, strict=True)]
    peer = theirs(Reader())([["q"] * 4, [list(x) for x in leaves]], labels)
    peer.backward()
    (total, stats), grad = jax.value_and_grad(mine, has_aux=True)(scores, grades, there)
    # LambdaLoss is a mean over pairs there and over lists here.
    pairs = ((grades[:, :, None] > grades[:, None]) & there[:, :, None] & there[:, None]).sum()
    weight = pairs if name in ("lambda_rank", "ndcg_loss2++") else stats["weight"]
    np.testing.assert_allclose(total / weight, peer.item(), rtol=1e-5)
    want = [x.grad for x in leaves]
    for got, m, g in zip(grad / weight, there, want, strict=True):
        np.testing.assert_allclose(got[m], g, atol=1e-6)
