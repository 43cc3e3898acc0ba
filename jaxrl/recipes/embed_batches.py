"""Examples → what an update of an embedder takes: sequences of few shapes, labels and targets."""

import dataclasses
from typing import NamedTuple

import numpy as np

from jaxrl.data import embedding_prompts, reranking_prompts, sequences, visual_rows
from jaxrl.data.contents import Content
from jaxrl.data.tokenizers import Tokenizer
from jaxrl.ops.contrastive_losses import Labels


class Batch(NamedTuple):
    """N rows of K documents each."""

    inputs: dict[str, sequences.Sequences]  # query [N], document [N · K], for E2Rank prompt [N]
    labels: Labels
    target_NK: np.ndarray  # f32, higher = better; zeros where none is known
    cut: int  # texts that were too long

    @property
    def tokens(self):
        """Tokens that are no padding."""
        return sum(int(x.valid.sum()) for x in self.inputs.values())


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

    def __call__(self, examples, seed):
        """The Batch of up to `rows` Examples; seed: numbers, such as (seed, step)."""
        rng = np.random.default_rng(seed)
        chosen = [self._chosen(x, rng) for x in examples]
        documents = [[x.documents[k] for k in ks] for x, ks in zip(examples, chosen, strict=True)]
        asked = [(x.query, x.instruction) for x in examples]
        blank = [(Content("-"), None)]  # where there is nothing; the mask leaves it out
        full = lambda found, count: [*found, *blank * (count - len(found))]
        listed = [
            pair for ds in documents for pair in full([(d, None) for d in ds], self.documents)
        ]
        texts = {
            "query": (full(asked, self.rows), self.template, self.query_length),
            "document": (
                full(listed, self.rows * self.documents),
                self.template,
                self.document_length,
            ),
        }
        if self.prompt_length:
            rows = zip(examples, documents, strict=True)
            prompts = [(self._prompt(x, ds, rng), None) for x, ds in rows]
            texts["prompt"] = full(prompts, self.rows), self.listwise[0], self.prompt_length
        read = {kind: self._read(*what) for kind, what in texts.items()}
        inputs = {kind: found for kind, (found, _) in read.items()}
        cut = sum(cut for _, cut in read.values())
        return Batch(inputs, self._labels(examples, documents), self._target(examples, chosen), cut)

    @property
    def listwise(self):
        """(template of a prompt that lists documents, whether it has the marks of a chat)."""
        chat = self.template != "plain"
        return ("listwise" if chat else "plain"), chat

    def _prompt(self, example, documents, rng):
        """E2Rank's pseudo-query over the documents in a drawn order: in that of the labels it would
        tell the ranking. arXiv:2510.22733 does not say in which; our choice, and the prompt is that
        of its evaluation, where it will be read."""
        shuffled = [documents[k].text for k in rng.permutation(len(documents))]
        return Content(self.prompt(example.query.text, shuffled, self.prompt_length))

    def prompt(self, query, documents, limit):
        """The text of a prompt; what a limit takes is of the documents, never the query."""
        chat = self.listwise[1]
        return reranking_prompts.fitted(self.tokenizer, query, documents, limit, chat=chat)

    def _chosen(self, example, rng):
        n = len(example.documents)
        if self.in_order:
            return np.arange(min(n, self.documents))
        return drawn(n, self.documents, rng)

    def _read(self, texts, template, limit):
        """(Sequences, how many were cut) of (Content, instruction or None) pairs, in order."""
        rows, cut = [None] * len(texts), 0
        for instruction in {said for _, said in texts}:
            where = [i for i, (_, said) in enumerate(texts) if said == instruction]
            plain = [texts[i][0].text for i in where]
            found = embedding_prompts.encode(self.tokenizer, template, plain, limit, instruction)
            cut += len(found.cut)
            for i, ids in zip(where, found.ids, strict=True):
                rows[i] = ids
        width = min(visual_rows.bucket(max(map(len, rows)), 16), limit)
        return sequences.pad(rows, width=width, pad_id=self.tokenizer.pad_id), cut

    def _labels(self, examples, documents):
        shape = self.rows, self.documents
        id_NK, mask_NK = np.zeros(shape, np.int32), np.zeros(shape, bool)
        weight_N, own_only_N = np.zeros(self.rows, np.float32), np.zeros(self.rows, bool)
        number = {}  # equal contents, equal numbers
        for n, (example, ds) in enumerate(zip(examples, documents, strict=True)):
            id_NK[n, : len(ds)] = [number.setdefault(d, len(number)) for d in ds]
            mask_NK[n, : len(ds)], weight_N[n], own_only_N[n] = True, 1, example.own_only
        return Labels(id_NK, mask_NK, weight_N, own_only_N)

    def _target(self, examples, chosen):
        target_NK = np.zeros((self.rows, self.documents), np.float32)
        for n, (example, ks) in enumerate(zip(examples, chosen, strict=True)):
            if example.target:
                target_NK[n, : len(ks)] = np.asarray(example.target, np.float32)[ks]
        return target_NK


def drawn(n, most, rng):
    """Numbers of at most `most` of n documents: the first, the positive, and a draw of others."""
    if n <= most:
        return np.arange(n)
    return np.array([0, *(1 + rng.choice(n - 1, most - 1, replace=False))])
