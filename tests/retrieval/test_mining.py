"""Mining against a loop over all scores; what is dropped, left out, or never a negative."""

import dataclasses

import numpy as np
import pytest
import tiny_encoder

from jaxrl.data.contents import Content
from jaxrl.data.embedding_forms import Row
from jaxrl.retrieval import mining
from jaxrl.retrieval.encoders import Encoder
from jaxrl.retrieval.mining import MiningConfig

WORDS = [f"w{i}" for i in range(12)]


def content(*texts):
    return tuple(map(Content, texts))


def made(seed, queries=9, positives=2, source="s"):
    """Rows of random words: a query shares some with its positives."""
    rng = np.random.default_rng(seed)
    some = lambda n: " ".join(rng.choice(WORDS, n))
    rows = []
    for q in range(queries):
        query = f"{some(2)} q{q}"
        answers = content(*(f"{query} {some(p)} a{seed}{q}" for p in range(1, positives + 1)))
        others = content(*(f"{some(3)} n{seed}{q}{i}" for i in range(3)))
        rows.append(Row(Content(query), answers, others, source=source))
    return rows


def mine(rows, c, **how):
    return mining.mine(rows, lambda instruction: tiny_encoder.make(), c, **how)


def oracle(rows, corpus, c):
    """The paper's loop: {query: (its positives, its hard negatives)}, for rows of one source."""
    score = lambda a, b: float(np.dot(*tiny_encoder.rows([a, b]).astype(np.float64)))
    found = {}
    for row in rows:
        q, D_plus = row.query.text, [d.text for d in row.positives]
        cand = sorted(corpus, key=lambda d: -score(q, d))[: c.candidates]
        refined = [d for d in cand if d in D_plus and score(q, d) > c.t_plus]
        if not refined:
            continue
        s_bar = sum(score(q, d) for d in refined) / len(refined)
        hard = []
        for d in cand:
            if d not in D_plus and score(q, d) < c.share * s_bar + c.delta:
                hard.append(d)
        found[q] = [d for d in D_plus if d in refined], hard[: c.negatives]
    return found


CONFIGS = {
    "qwen3_vl": MiningConfig(candidates=12, negatives=4, t_plus=0.7, delta=0.02),
    "perc_pos": MiningConfig(candidates=20, negatives=5, share=0.8),
    "margin_pos": MiningConfig(candidates=20, negatives=18, delta=-0.4, t_plus=0.75),
    "no bound": MiningConfig(candidates=9, negatives=6, share=0, delta=2, t_plus=-2),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_it_is_the_loop_of_the_paper(name):
    c, rows = CONFIGS[name], made(1)
    corpus = list(dict.fromkeys(d.text for row in rows for d in row.positives + row.negatives))
    want = oracle(rows, corpus, c)
    got, counts = mine(rows, c)
    texts = lambda contents: [d.text for d in contents]
    assert {r.query.text: (texts(r.positives), texts(r.negatives)) for r in got} == want
    assert counts["mined"] == len(want)
    assert counts["no positive above t_plus"] == len(rows) - len(want)
    kept = sum(len(positives) for positives, _ in want.values())
    assert counts["positives left out"] == 2 * len(want) - kept
    short = sum(len(negatives) < c.negatives for _, negatives in want.values())
    assert counts["fewer negatives than asked"] == short


def test_the_cases_above_drop_some_and_keep_some():
    """An oracle that agrees on nothing but empty lists would prove nothing."""
    kept = [mine(made(1), c).counts for c in CONFIGS.values()]
    for key in mining.COUNTS:
        assert sum(counts[key] for counts in kept) > 0, key
    assert 0 < kept[0]["mined"] < 9


SCORES, NUMBERS = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3], [5, 1, 8, 2, 9, 4, 7]
C = MiningConfig(candidates=10, negatives=2)


@pytest.mark.parametrize(
    "positives, never, change, want",
    [
        ({8}, set(), {}, ([8], [2, 9])),
        ({8}, {2}, {}, ([8], [9, 4])),
        ({8}, set(), {"delta": 0.15}, ([8], [1, 2])),
        ({8}, set(), {"share": 0.8}, ([8], [9, 4])),
        ({5, 9}, set(), {}, ([5, 9], [2, 4])),  # below the mean of 0.9 and 0.5
        ({5, 9}, set(), {"t_plus": 0.5}, ([5], [1, 8])),  # 9 is at t⁺: no answer, no negative
        ({8}, set(), {"t_plus": 0.7}, None),
        ({3}, set(), {}, None),
        ({7}, set(), {}, ([7], [])),
    ],
)
def test_what_is_chosen_from_given_scores(positives, never, change, want):
    scores = np.array(SCORES, np.float32) if not change.get("t_plus") else SCORES
    c = dataclasses.replace(C, **change)
    assert mining.choose(scores, NUMBERS, positives, never, c) == want


def test_drawn_negatives_are_some_of_the_eligible_and_repeat_with_the_seed():
    c = dataclasses.replace(C, draw=True)
    draws = [mining.choose(SCORES, NUMBERS, {1}, set(), c, q)[1] for q in range(60)]
    assert draws == [mining.choose(SCORES, NUMBERS, {1}, set(), c, q)[1] for q in range(60)]
    assert all(len(set(d)) == 2 and d == sorted(d, key=NUMBERS.index) for d in draws)
    assert {n for d in draws for n in d} == {8, 2, 9, 4, 7}
    other = dataclasses.replace(c, seed=1)
    assert draws != [mining.choose(SCORES, NUMBERS, {1}, set(), other, q)[1] for q in range(60)]


def test_negatives_come_from_the_rows_own_source_or_the_corpus():
    rows = made(1) + made(2, source="t")
    loose = MiningConfig(candidates=60, negatives=50, share=0, delta=2, t_plus=-2)
    own = lambda some: {d for row in some for d in row.positives + row.negatives}
    for row in mine(rows, loose).rows:
        pool = own(x for x in rows if x.source == row.source)
        assert set(row.negatives) == pool - set(row.positives)
    corpus = content("w1 w2", "w3", "w4 w5")
    answers = {d for row in rows if row.source == "t" for d in row.positives}
    last = mine(rows, loose, corpus=corpus).rows[-1]
    assert set(last.negatives) == (answers | set(corpus)) - set(last.positives)


def test_a_positive_of_the_same_query_in_another_row_is_no_negative():
    """Nor is the query itself, where it stands among the documents."""
    query = Content("w1 w2")
    rows = [
        Row(query, content("w1 w2 a"), content("w1 w2", "w3")),
        Row(query, content("w1 w2 b"), content("w1 w4"), scores=(1.0, 0.0)),
    ]
    got = mine(rows, dataclasses.replace(C, share=0, delta=2, negatives=4)).rows
    assert [set(row.negatives) for row in got] == [set(content("w3", "w1 w4"))] * 2
    assert [row.positives for row in got] == [row.positives for row in rows]
    assert got[1].scores == ()


def test_classification_rows_keep_their_labels():
    label = Row(Content("w1"), content("w1 yes"), content("no"), own_only=True)
    got, counts = mine([label, *made(1), label], CONFIGS["no bound"])
    assert got[0] == got[-1] == label and counts["classification rows, left as they are"] == 2
    with pytest.raises(ValueError, match="no row of kind retrieval"):
        mine([label], C)


def test_each_instruction_has_its_encoder_and_documents_have_one():
    opened, seen = [], []

    def open_encoder(instruction):
        opened.append(instruction)
        encoder = tiny_encoder.make()
        queries = lambda texts: (seen.append((instruction, list(texts))), encoder.queries(texts))[1]
        documents = lambda texts: (seen.append(("documents", len(texts))), encoder.queries(texts))
        return Encoder(lambda t: documents(t)[1], queries, encoder.dim, "tiny")

    rows = [dataclasses.replace(row, instruction=str(q % 2)) for q, row in enumerate(made(1))]
    mining.mine(rows, open_encoder, C)
    assert opened == ["0", "1"]
    assert seen[0] == ("documents", 45) and len(seen) == 3
    for (instruction, texts), parity in zip(seen[1:], (0, 1), strict=True):
        assert instruction == str(parity)
        assert texts == [row.query.text for row in rows[parity::2]]


def test_a_document_without_a_finite_row_is_never_found():
    rows = made(1)
    bad = rows[0].negatives[0].text

    def documents(texts):
        found = tiny_encoder.rows(texts)
        found[[text == bad for text in texts]] = np.nan
        return found

    open_encoder = lambda _: tiny_encoder.make(documents=documents)
    got, counts = mining.mine(rows, open_encoder, CONFIGS["no bound"])
    assert counts["documents whose row is not finite"] == 1
    assert all(Content(bad) not in row.negatives for row in got)


def test_a_picture_reaches_the_encoder_as_a_content():
    picture = Content("a cat", images=("cat.png",))
    assert mining.bare(picture) is picture and mining.bare(Content("a cat")) == "a cat"


class Peer:
    """What sentence-transformers asks of a model."""

    device = "cpu"

    def encode(self, texts, **_):
        return tiny_encoder.rows(texts)

    encode_document = encode_query = encode

    def similarity(self, a, b):
        torch = pytest.importorskip("torch")
        return torch.as_tensor(a) @ torch.as_tensor(b).T

    def similarity_pairwise(self, a, b):
        torch = pytest.importorskip("torch")
        return (torch.as_tensor(a) * torch.as_tensor(b)).sum(1)


@pytest.mark.peers
@pytest.mark.parametrize(
    "ours, theirs",
    [({"share": 0.8}, {"relative_margin": 0.2}), ({"delta": -0.1}, {"absolute_margin": 0.1})],
)
def test_it_is_the_mining_of_sentence_transformers(ours, theirs):
    """Its margins are NV-Retriever's; it knows one positive a row, as they do."""
    datasets = pytest.importorskip("datasets")
    util = pytest.importorskip("sentence_transformers.util")
    rows = made(3, queries=20, positives=1)
    corpus = [d.text for row in rows for d in row.negatives]
    pairs = {"anchor": [r.query.text for r in rows]}
    pairs["positive"] = [r.positives[0].text for r in rows]
    triplets = util.mine_hard_negatives(
        datasets.Dataset.from_dict(pairs), Peer(), corpus=corpus, num_negatives=6,
        range_max=79, sampling_strategy="top", output_format="triplet", verbose=False, **theirs
    )  # fmt: skip
    c = MiningConfig(candidates=80, negatives=6, t_plus=-2, **ours)
    found = mine(rows, c, corpus=content(*corpus)).rows
    got = {(r.query.text, r.positives[0].text, d.text) for r in found for d in r.negatives}
    assert got == {tuple(row.values()) for row in triplets} and len(got) > 90


@pytest.mark.parametrize(
    "how, words",
    [
        ({"negatives": 0}, "negatives=0 and candidates=100"),
        ({"negatives": 9, "candidates": 9}, "more candidates than negatives"),
        ({"t_plus": float("nan")}, "t_plus=nan"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_settings_that_mine_nothing_are_refused(how, words):
    with pytest.raises(ValueError, match=words):
        MiningConfig(**how)
