"""How well an embedder finds what belongs to held-out queries, while it trains.

Each query ranks all documents of the held-out rows; its positives are relevant, nothing else is. So
another document that answers the question counts as wrong: the figures compare embedders on the
same rows, and no two sets of rows.
"""

import dataclasses
import functools
from pathlib import Path

import numpy as np

from jaxrl.data.contents import Content
from jaxrl.evals import retrieval
from jaxrl.evals.judged import Task
from jaxrl.retrieval import documents, encode, rerank, search

DEPTH = 100  # documents of a query that are ranked
EXAMPLES, FOUND, CHARACTERS = 8, 5, 300  # of what the report shows


class Evaluation:
    """params -> rows of eval.jsonl: retrieval and, with `shown`, E2Rank's reranking of it."""

    def __init__(self, plan, shown, prompt_length):
        self._plan, self._shown, self._prompt_length = plan, shown, prompt_length
        self._contents, self._asked, self._task = task(plan.held_out)

    def __call__(self, params):
        packer = self._plan.packer
        rows_CD = self._vectors(params, self._contents, None, packer.document_length)
        asked_QD = np.zeros((len(self._asked), rows_CD.shape[1]), np.float32)
        for said in {instruction for _, instruction in self._asked}:
            at = [i for i, (_, instruction) in enumerate(self._asked) if instruction == said]
            queries = [self._asked[i][0] for i in at]
            asked_QD[at] = self._vectors(params, queries, said, packer.query_length)
        scores_QC = asked_QD @ rows_CD.T
        numbers = np.broadcast_to(np.arange(len(rows_CD)), scores_QC.shape)
        found = search.ordered(scores_QC, numbers, DEPTH)
        rows = [self._row("held_out", found)]
        if self._shown:
            rows.append(self._row("held_out, reranked", self._reranked(params, rows_CD, found)))
        return rows

    def _vectors(self, params, contents, instruction, limit, **changes):
        c = dataclasses.replace(self._plan.embedder, limit=limit, **changes)
        how = {"instruction": instruction, "dtype": self._plan.base.how["dtype"]}
        return encode.encode(params, contents, c, self._plan.tokenizer, **how).vectors

    def _reranked(self, params, rows_CD, found):
        limit, (template, _) = self._prompt_length, self._plan.packer.listwise
        embed = lambda prompts: self._vectors(
            params, list(map(Content, prompts)), None, limit, template=template
        )
        texts = lambda numbers: [self._contents[n].text for n in numbers]
        asked = [content.text for content, _ in self._asked]
        rows = lambda numbers: rows_CD[numbers]
        prompt = functools.partial(self._plan.packer.prompt, limit=limit)
        return rerank.listwise(embed, prompt, asked, found, texts, rows, shown=self._shown)

    def _row(self, name, found):
        n = len(self._asked)
        values = retrieval.score(self._task, found)
        row = {"name": name, "n": n} | {metric: float(x.mean()) for metric, x in values.items()}
        return row | {"examples": [self._example(q, found) for q in range(min(EXAMPLES, n))]}

    def _example(self, q, found):
        """The first documents of a query, for the report."""
        right = self._task.qrels[f"q{q}"]
        one = lambda n, score: {
            "id": f"d{n}",
            "text": shown(self._contents[n]),
            "score": float(score),
            "relevant": f"d{n}" in right,
        }
        first = zip(found.numbers[q, :FOUND].tolist(), found.scores[q, :FOUND], strict=True)
        return {
            "query": shown(self._asked[q][0]),
            "found": [one(*pair) for pair in first if pair[0] >= 0],
        }


def shown(content):
    """A content in a line: the names of its files, and the beginning of its text."""
    files = [Path(path).name for path in (*content.videos, *content.images)]
    return " ".join([*(f"[{name}]" for name in files), content.text[:CHARACTERS]]).strip()


def task(examples):
    """(contents, [(query, instruction)], judged.Task) of held-out Examples.

    Documents are numbered as they first occur; one query in several rows has all their positives.
    """
    number, asked, qrels = {}, {}, {}
    for x in examples:
        ids = [f"d{number.setdefault(d, len(number))}" for d in x.documents]
        query = f"q{asked.setdefault((x.query, x.instruction), len(asked))}"
        qrels.setdefault(query, {})[ids[0]] = 1
    contents = list(number)
    held = documents.held([f"d{n}" for n in range(len(contents))], contents)
    queries = {f"q{n}": query.text for n, (query, _) in enumerate(asked)}
    return contents, list(asked), Task("held_out", held, queries, qrels, {}, {})
