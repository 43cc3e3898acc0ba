"""Post-training of language-model agents, and of the embedders that serve them, in JAX."""

__version__ = "0.1.0"
