"""Encoders by name: checkpoints with settings behind a #, functions of one's own."""

import numpy as np
import pytest
import tiny

from jaxrl.retrieval import encoders


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("encoders") / "tiny")


def test_a_checkpoint_embeds_as_its_settings_say(path):
    plain = encoders.open_encoder(f"{path}#pooling=mean,template=plain")
    short = encoders.open_encoder(f"{path}#pooling=mean,template=plain,dim=4")
    whole, part = (one.documents(["a text", "another"]) for one in (plain, short))
    assert whole.shape == (2, tiny.MODEL.D) and (plain.dim, short.dim) == (tiny.MODEL.D, 4)
    kept = whole[:, :4] / np.linalg.norm(whole[:, :4], axis=1, keepdims=True)
    np.testing.assert_allclose(part, kept, atol=1e-5)
    assert plain.fingerprint != short.fingerprint


def test_queries_are_told_what_is_asked_for_and_documents_are_not(path):
    told = encoders.open_encoder(f"{path}#template=plain", "query: ")
    bare = encoders.open_encoder(f"{path}#template=plain")
    text = ["a text"]
    np.testing.assert_array_equal(told.documents(text), bare.documents(text))
    assert not np.allclose(told.queries(text), told.documents(text))
    assert told.fingerprint == bare.fingerprint  # of documents: an index serves any instruction


def test_functions_of_ones_own_are_opened_by_name():
    assert encoders.open_encoder("tiny_encoder:opened").dim == 24
    for name in ("tiny_encoder:missing", "no_such_module:f"):
        with pytest.raises(ValueError, match="module:function"):
            encoders.open_encoder(name)
    with pytest.raises(TypeError, match="not an Encoder"):
        encoders.open_encoder("collections:Counter")
    with pytest.raises(ValueError, match="instruction = 'x'"):
        encoders.open_encoder("tiny_encoder:opened", "x")


def test_what_cannot_be_opened_is_named(path):
    with pytest.raises(FileNotFoundError, match="gpt"):
        encoders.open_encoder("gpt")
    for wrong in ("pool=mean", "dim=many"):
        with pytest.raises(ValueError, match="KEY=VALUE behind #"):
            encoders.open_encoder(f"{path}#{wrong}")
