"""An encoder as a model that the mteb package (2.x) can evaluate on its own tasks.

    mteb.evaluate(mteb_model.wrap(open_encoder(name), "me/my-embedder"), tasks)

mteb is wanted at the call of `wrap` alone, for the record that describes a model. Its prompts are
not passed on: an encoder has its own instructions, for queries and for documents.
"""

import dataclasses
from typing import Any

import numpy as np

from jaxrl.retrieval import encoders

QUERY = "query"  # mteb's PromptType of a query; it is a text itself


@dataclasses.dataclass(frozen=True)
class MtebModel:
    """mteb's EncoderProtocol, by shape: nothing is inherited."""

    encoder: encoders.Encoder
    mteb_model_meta: Any  # mteb.models.ModelMeta

    def encode(self, inputs, *, task_metadata, hf_split, hf_subset, prompt_type=None, **_):
        """The rows of batches {"text": [texts], …}: [n, D] f32; as queries if prompt_type says so.

        Tasks that are not retrieval have no prompt_type: both sides are then documents.
        """
        function = self.encoder.queries if prompt_type == QUERY else self.encoder.documents
        rows = []
        for batch in inputs:
            if "text" not in batch:
                raise ValueError(f"a batch has {sorted(batch)} and no text: only texts are encoded")
            texts = list(batch["text"])
            rows.append(encoders.encode(function, texts, self.encoder.dim, texts))
        return np.concatenate(rows)

    def similarity(self, embeddings1, embeddings2):
        """Cosines of all pairs: [m, D], [n, D] -> [m, n] f32, or [D] in place of either."""
        return np.atleast_2d(embeddings1) @ np.atleast_2d(embeddings2).T

    def similarity_pairwise(self, embeddings1, embeddings2):
        """Cosines of rows in step: [n, D], [n, D] -> [n] f32."""
        return (np.asarray(embeddings1) * np.asarray(embeddings2)).sum(-1)


def wrap(encoder, name, revision="1"):
    """The MtebModel of an encoder. name: "organisation/model", under which mteb keeps results."""
    from mteb.models import ModelMeta  # here: mteb brings torch, and only this call needs it

    if name.count("/") != 1 or not all(name.split("/")):
        raise ValueError(f'name = {name!r}: mteb takes names such as "organisation/model"')
    known = {"name": name, "revision": revision, "embed_dim": encoder.dim}
    return MtebModel(encoder, ModelMeta.create_empty(known | {"modalities": ["text"]}))
