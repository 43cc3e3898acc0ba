"""What is embedded, and rows of it that embedders and rerankers learn from."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Content:
    """A text, pictures and clips, or any mix of them: one thing to embed."""

    text: str = ""
    images: tuple[str, ...] = ()  # paths
    videos: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Example:
    """A query and documents of its own, of which the first is the positive."""

    query: Content
    documents: tuple[Content, ...]
    instruction: str | None = None  # of the query
    target: tuple[float, ...] = ()  # of each document, higher = better; () = none is known
    own_only: bool = False  # a classification row: only its own documents are its negatives
    source: str = ""  # batches are of one source

    @property
    def graded_pair(self):
        """Two contents and how alike they are, in the place of a query and what answers it."""
        return len(self.documents) == 1 and len(self.target) == 1
