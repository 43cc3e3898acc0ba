"""The tiny corpus, built once for all tests of this folder."""

import pytest
import tiny_corpus

from jaxrl.envs.research import corpus as corpora


@pytest.fixture(scope="session")
def names(tmp_path_factory):
    """The tiny corpus by name."""
    return tiny_corpus.install(tmp_path_factory)


@pytest.fixture(scope="session")
def world(names):
    """The same, opened."""
    return corpora.open_corpus(names)
