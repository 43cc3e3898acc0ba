"""Merging: end points are the models, the better one draws, what shares no base is refused."""

import dataclasses
import shutil

import jax
import numpy as np
import pytest
import tiny
import tiny_embedder
import tiny_family as two

from jaxrl.models import embedder, embedder_files, lora, peft_files
from jaxrl.recipes import merge, merge_probe

ONE, OTHER = two.near(1), two.near(2)


def close(got, want, atol=1e-6):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=atol), got, want)


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    path = two.write(tmp_path_factory.mktemp("probe") / "rows.jsonl", two.rows())
    return merge_probe.read(path, two.C, two.TOKENIZER)


def arc(a, b, t):
    """Of two arrays in float64, the line where they are parallel."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    cos = (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
    omega = np.arccos(np.clip(cos, -1, 1))
    if omega < 1e-6:
        return (1 - t) * a + t * b
    return (np.sin((1 - t) * omega) * a + np.sin(t * omega) * b) / np.sin(omega)


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_slerp_gives_each_layer_its_own_arc(t):
    each = lambda a, b: np.stack([arc(x, y, t) for x, y in zip(a, b, strict=True)])
    want = jax.tree.map(
        lambda lead, a, b: each(a, b) if lead else arc(a, b, t), two.leads(), ONE, OTHER
    )
    got = merge.slerped(two.family(ONE, OTHER), t)
    close(got, want, atol=1e-5)
    if t in (0, 1):
        close(got, (ONE, OTHER)[int(t)])


def test_equal_models_give_themselves():
    close(merge.slerped(two.family(ONE, ONE), 0.3), ONE)
    close(merge.moved(two.family(ONE, ONE), [0.5, 0.5]), ONE)
    close(merge.moved(two.family(two.BASE, two.BASE), [3.0, -2.0]), two.BASE, atol=0)


def test_a_sweep_takes_the_share_of_the_best_score(probe):
    family = two.family(two.BAD, two.GOOD)
    scores, t = merge.sweep(family, probe, shares=(0.0, 0.5, 1.0))
    assert scores[t] == max(scores.values()) and scores[t] > scores[0.0] and t > 0
    again, half = merge.sweep(two.family(two.GOOD, two.GOOD), probe, shares=(0.0, 0.5, 1.0))
    assert len(set(again.values())) == 1 and half == 0.5


@pytest.mark.slow
def test_the_search_moves_to_the_model_that_is_better_on_the_probe(probe):
    """Its gradient is that of the coefficients: the models themselves stay as they are."""
    how = merge.MergeConfig(steps=12, size=5, lr=0.05)
    found = merge.positions(two.family(two.BAD, two.GOOD), probe, how)
    bad, good = found.coefficients
    assert good > 0.6 > 0.4 > bad and found.after < found.before
    assert merge.positions(two.family(two.BAD, two.GOOD), probe, how) == found


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """{name: directory} of embedders that can, and of some that cannot be merged with the base."""
    root = tmp_path_factory.mktemp("models")
    small = dataclasses.replace(tiny_embedder.ENCODER, F=16)
    other = dataclasses.replace(tiny_embedder.ENCODER, norm_eps=1e-5)
    made = {
        "base": (two.C, two.BASE),
        "one": (two.C, ONE),
        "other": (dataclasses.replace(two.C, pooling="cls"), OTHER),
        "stranger": (two.C, tiny_embedder.params(two.specs(), seed=9)),
        "small": (dataclasses.replace(two.C, model=small), tiny_embedder.params(two.specs(small))),
        "eps": (dataclasses.replace(two.C, model=other), ONE),
    }
    for name, (c, params) in made.items():
        embedder_files.save(params, c, two.TOKENIZER, root / name)
    shutil.copytree(root / "one", root / "words")
    file = root / "words" / "tokenizer.json"
    file.write_text(file.read_text().replace('"mat"', '"hat"'))
    return {name: str(root / name) for name in (*made, "words")}


def test_directories_are_opened_as_the_models_they_hold(folders):
    family = merge.opened(folders["base"], [folders["one"], folders["one"]])
    close(family.base, two.BASE, atol=0)
    close(family.models, [ONE, ONE], atol=0)
    assert family.c.model == two.C.model and family.c.pooling == "mean"


@pytest.mark.parametrize(
    "name, says",
    [
        ("small", r"small: the tensor encoder.layer.\*.intermediate.dense.bias is \(2, 16\), in"),
        ("eps", r"eps differs from the other models in its config, .*norm_eps"),
        (
            "stranger",
            r"the tensor .*embeddings.* has cosine -?0.\d+ with the base's: the model was",
        ),
        ("words", r"words has another vocabulary than the other models"),
        ("other", r"other: pooling='cls', but one has 'mean'"),
    ],
)
def test_what_shares_no_base_is_refused(folders, name, says):
    with pytest.raises(ValueError, match=says):
        merge.opened(folders["base"], [folders["one"], folders[name]])


def test_one_model_and_three_for_slerp_are_refused(folders):
    with pytest.raises(ValueError, match="give at least two"):
        merge.opened(folders["base"], [folders["one"]])
    with pytest.raises(ValueError, match="between two models, not 3"):
        merge.slerped(two.family(ONE, ONE, ONE), 0.5)


def test_adapters_enter_as_what_they_change(tmp_path):
    """A B of each, not the mean of the A times the mean of the B."""
    c, params = embedder.Config(model=tiny.MODEL, pooling="last"), tiny.params()
    embedder_files.save(params, c, tiny.TOKENIZER, tmp_path / "base")
    how = lora.LoraConfig(2, 4.0, ("q", "down"))
    found = [tiny.adapters(how, seed=seed) for seed in (0, 1)]
    for n, x in enumerate(found):
        peft_files.save(x, tiny.MODEL, how, "base", tmp_path / f"adapter{n}")
    paths = [str(tmp_path / name) for name in ("base", "adapter0", "adapter1")]
    family = merge.opened(paths[0], paths[1:])
    dense = [lora.merged(params, x, how) for x in found]
    close(family.models, dense)
    half = jax.tree.map(lambda x, y: (x + y) / 2, *dense)
    close(merge.moved(family, [0.5, 0.5]), half)
    with pytest.raises(ValueError, match=r"base='.*adapter0' is an adapter"):
        merge.opened(paths[1], paths[1:])
