"""The tiny corpus, for the tests that research on it."""

import pytest
import tiny_corpus

from jaxrl.envs.research.env import OpenDeepResearch


@pytest.fixture(scope="session")
def research(tmp_path_factory):
    """The test split of Open-DeepResearch over the tiny corpus."""
    with tiny_corpus.installed(tmp_path_factory) as name:
        yield OpenDeepResearch("test", size=30, corpus=name)
