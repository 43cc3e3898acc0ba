"""The tiny corpus, for the tests that research on it."""

import pytest
import tiny_corpus

from jaxrl.envs.research.env import OpenDeepResearch


@pytest.fixture(scope="session")
def research(tmp_path_factory):
    """The test split of Open-DeepResearch over the tiny corpus."""
    return OpenDeepResearch("test", size=30, corpus=tiny_corpus.install(tmp_path_factory))
