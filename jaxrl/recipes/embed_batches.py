"""Examples → what an update of an embedder takes: sequences of few shapes, labels and targets."""

import dataclasses
from typing import NamedTuple

import numpy as np

from jaxrl.data import (
    embedding_batches,
    embedding_sequences,
    reranking_prompts,
    sequences,
    visual_rows,
)
from jaxrl.data.contents import Content
from jaxrl.data.tokenizers import Tokenizer
from jaxrl.models import vision
from jaxrl.ops.contrastive_losses import Labels


class Batch(NamedTuple):
    """N rows of K documents each."""

    inputs: dict[str, sequences.Sequences]  # query [N], document [N · K], for E2Rank prompt [N]
    labels: Labels
    target_NK: np.ndarray  # f32, higher = better; zeros where none is known
    cut: int  # contents whose text was too long
    unreadable: int  # contents whose pictures cannot be read: left out, with their row if need be

    @property
    def tokens(self):
        """Tokens that are no padding."""
        return sum(int(x.valid.sum()) for x in self.inputs.values())


class Kind(NamedTuple):
    """What of a batch is read together."""

    contents: list[tuple[Content, str | None]]  # with the instruction of each
    places: list[int]  # the sequence of each
    count: int  # sequences in all; the others have one token, which no label counts
    limit: int
    template: str


@dataclasses.dataclass(frozen=True)
class Packer:
    """(Examples, seed) -> Batch. What is drawn, of negatives that are too many and of the order in
    a prompt, depends on the seed alone."""

    tokenizer: Tokenizer
    template: str  # a key of embedding_prompts.TEMPLATES
    rows: int  # N: where there are fewer Examples, the others have weight 0
    documents: int  # K; a row that has fewer leaves the rest out
    query_length: int  # tokens at most
    document_length: int
    prompt_length: int = 0  # of E2Rank's prompt, which shows all K; 0 = there is none
    in_order: bool = False  # the first K documents are taken, not the first and a draw of others
    tower: vision.Config | None = None  # of a model that sees

    def __call__(self, examples, seed):
        """The Batch of up to `rows` Examples; seed: numbers, such as (seed, step)."""
        rng = np.random.default_rng(seed)
        taken = [self._taken(x, rng) for x in examples]
        read, cut, bad = {}, 0, {}
        for kind, asked in self._kinds(taken, rng).items():
            read[kind], n, bad[kind] = self._read(asked)
            cut += n
        labels, target_NK = self._known(taken)
        labels = _without(labels, bad["query"], bad["document"])
        return Batch(read, labels, target_NK, cut, sum(map(len, bad.values())))

    def _kinds(self, taken, rng):
        N, K, rows = self.rows, self.documents, list(range(len(taken)))
        asked = [(x.query, x.instruction) for x in taken]
        found = [(document, None) for x in taken for document in x.documents]
        at = [n * K + k for n, x in enumerate(taken) for k in range(len(x.documents))]
        kinds = {
            "query": Kind(asked, rows, N, self.query_length, self.template),
            "document": Kind(found, at, N * K, self.document_length, self.template),
        }
        if self.prompt_length:
            prompts = [(self._prompt(x, rng), None) for x in taken]
            kinds["prompt"] = Kind(prompts, rows, N, self.prompt_length, self.listwise[0])
        return kinds

    @property
    def listwise(self):
        """(template of a prompt that lists documents, whether it has the marks of a chat)."""
        chat = self.template != "plain"
        return ("listwise" if chat else "plain"), chat

    def prompt(self, query, documents, limit):
        """The text of a prompt; what a limit takes is of the documents, never the query."""
        chat = self.listwise[1]
        return reranking_prompts.fitted(self.tokenizer, query, documents, limit, chat=chat)

    def _prompt(self, example, rng):
        """E2Rank's pseudo-query over the documents in a drawn order: in that of the labels it would
        tell the ranking. arXiv:2510.22733 does not say in which; our choice, and the prompt is that
        of its evaluation, where it will be read."""
        texts = [document.text for document in example.documents]
        shuffled = [texts[k] for k in rng.permutation(len(texts))]
        return Content(self.prompt(example.query.text, shuffled, self.prompt_length))

    def _taken(self, example, rng):
        """The example with as many documents as a row has, the positive first."""
        n = len(example.documents)
        chosen = range(min(n, self.documents))
        if not self.in_order:
            chosen = drawn(n, self.documents, rng)
        pick = lambda values: tuple(values[k] for k in chosen) if values else ()
        return dataclasses.replace(
            example, documents=pick(example.documents), target=pick(example.target)
        )

    def _read(self, kind):
        """(Sequences, how many were cut, the places of those that cannot be read)."""
        rows, cut, bad = [[self.tokenizer.pad_id]] * kind.count, 0, set()
        for instruction in {said for _, said in kind.contents}:
            of = [i for i, (_, said) in enumerate(kind.contents) if said == instruction]
            found = embedding_sequences.render(
                self.tokenizer,
                kind.template,
                [kind.contents[i][0] for i in of],
                kind.limit,
                instruction,
                tower=self.tower,
                bad="skip",
            )
            cut += len(found.cut)
            bad |= {kind.places[of[i]] for i in found.bad}
            for i, row in zip(of, found.rows, strict=True):
                rows[kind.places[i]] = row if row is not None else [self.tokenizer.pad_id]
        width = min(visual_rows.bucket(max(map(len, rows)), 16), kind.limit)
        how = {"width": width, "pad_id": self.tokenizer.pad_id, "tower": self.tower}
        return sequences.pad(rows, **how), cut, bad

    def _known(self, taken):
        """(Labels, target_NK) of the examples, and of rows of weight 0 behind them."""
        shape, n = (self.rows, self.documents), len(taken)
        id_NK, mask_NK = np.zeros(shape, np.int32), np.zeros(shape, bool)
        id_NK[:n], mask_NK[:n] = embedding_batches.numbered(taken, self.documents)
        weight_N, own_only_N = np.zeros(self.rows, np.float32), np.zeros(self.rows, bool)
        weight_N[:n], own_only_N[:n] = 1, [x.own_only for x in taken]
        target_NK = np.zeros(shape, np.float32)
        for row, x in zip(target_NK, taken, strict=False):
            row[: len(x.target)] = x.target
        return Labels(id_NK, mask_NK, weight_N, own_only_N), target_NK


def _without(labels, queries, documents):
    """The labels without contents that cannot be read: a row needs its query and its positive."""
    mask_NK, weight_N = labels.mask_NK.copy(), labels.weight_N.copy()
    mask_NK.reshape(-1)[list(documents)] = False
    weight_N[list(queries)] = 0
    weight_N[~mask_NK[:, 0]] = 0
    return labels._replace(mask_NK=mask_NK, weight_N=weight_N)


def drawn(n, most, rng):
    """Numbers of at most `most` of n documents: the first, the positive, and a draw of others."""
    if n <= most:
        return np.arange(n)
    return np.array([0, *(1 + rng.choice(n - 1, most - 1, replace=False))])
