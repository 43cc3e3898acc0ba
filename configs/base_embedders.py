"""Every key of the runs that train embedders and rerankers: default and meaning, as in base.py."""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder as _unset  # takes a value of one type

from configs import base


def embed():
    """An embedder, by any loss of algos/embedding_objectives.py (jaxrl/recipes/embed.py)."""
    c = base.common()
    c.embedder = ConfigDict(
        {  # "" and 0 = as the checkpoint's files say (models/embedder_files.py)
            "pooling": "",  # last, mean, cls
            "template": "",  # a key of jaxrl.data.embedding_prompts.TEMPLATES
            "dim": 0,  # leading components that are kept
            "limit": 0,  # tokens of a text
        }
    )
    c.data = ConfigDict(
        {
            # JSON lines: {"query": ..., "positives": [...], "negatives": [...]} and other forms,
            # with text, image or video in each place (jaxrl/data/embedding_rows.py)
            "path": "",
            "eval_path": "",  # held-out rows: each query is to find its positives among all
            "batch": 16,  # N: rows an update, all of one source
            "documents": 2,  # K: of a row, its positive included; of more negatives, a draw
            "query_length": 64,  # tokens; what is longer is cut, and counted
            "document_length": 256,
            "prompt_length": 2048,  # e2rank: of the prompt that lists a row's documents
            "instruction": "",  # of queries whose row has none
        }
    )
    c.loss = ConfigDict(
        {  # unset = the default that embedding_objectives.OPTIONS gives for the name
            "name": "info_nce",  # a key of jaxrl.algos.embedding_objectives.CONTRASTIVE
            "temperature": _unset(float),
            "margin": _unset(float),  # above the positive's cosine: a false negative; inf = none is
            "others_negatives": _unset(bool),  # other rows' hard negatives are negatives, too
            "query_query": _unset(bool),  # other rows' queries are
            "document_document": _unset(bool),  # of a positive, other rows' documents are
            "teacher_temperature": _unset(float),  # distillation: of the teacher's logits
            "mu": _unset(float),  # lambda_loss
            "rank_weight": _unset(float),  # e2rank: of RankNet
            "rank_temperature": _unset(float),  # e2rank: of RankNet's cosines
            "listwise": _unset(bool),  # e2rank: RankNet reads the prompt that lists documents
            "dims": (),  # Matryoshka: prefixes that are to be embeddings, too
            "dim_weights": _unset(tuple),  # unset = 1 each
            "formats": (),  # of int8, binary: vectors are to be stored so
            "quantized_weight": 1.0,  # of the loss on vectors of few bits
        }
    )
    c.eval = ConfigDict(
        {
            "every": 0,  # updates between evaluations; 0 = before and after only
            "shown": 0,  # > 0: beside retrieval, E2Rank's reranking with as many documents shown
        }
    )
    # rows of a micro-batch: the batch's gradient in two passes; 0 = all at once, in one
    c.learner = ConfigDict({"micro": 0})
    return c.lock()


def reranker():
    """A pointwise reranker that says yes or no (jaxrl/recipes/reranker.py)."""
    c = base.common()
    c.reranker = ConfigDict({"template": "qwen3"})  # a key of reranking_prompts.TEMPLATES
    c.data = ConfigDict(
        {
            "path": "",  # the lines of an embedder: each document of a row is a pair with its query
            "eval_path": "",  # held-out rows: each query is to rank its own documents
            "batch": 4,  # rows an update, all of one source
            "documents": 4,  # of a row: its positive, and a draw of its negatives
            "length": 512,  # tokens of a pair; of a longer one the document's end is cut
            "instruction": "",  # where a row has none; "" = the template's own
        }
    )
    c.eval = ConfigDict({"every": 0})  # updates between evaluations; 0 = before and after only
    c.learner = ConfigDict({"micro": 0})  # rows of a micro-batch; 0 = all at once
    return c.lock()


def distill():
    """A reranker's scores into an embedder, in one command (jaxrl/recipes/distill.py)."""
    c = ConfigDict(
        {
            "teacher": ConfigDict(
                {
                    "checkpoint": "",  # of a reranker; "" = the rows have scores already
                    "template": "qwen3",  # a key of reranking_prompts.TEMPLATES
                    "length": 1024,  # tokens of a pair
                }
            ),
            "student": embed(),  # its data.path holds the rows that the teacher scores
        }
    )
    c.student.loss.name = "distillation"
    return c.lock()


def e2rank():
    """E2Rank's two stages in one command (jaxrl/recipes/e2rank.py, arXiv:2510.22733)."""
    c = ConfigDict({"first": embed(), "second": embed()})  # the second begins with the first's
    c.first.loss.update(margin=float("inf"))
    c.second.loss.name = "e2rank"
    return c.lock()
