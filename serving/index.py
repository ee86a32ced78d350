"""An index in a process of its own.

Qdrant Edge holds the GIL while it searches: in the process that takes requests, they wait for some milliseconds. The
class is plain Python: ``ray.remote`` makes it an actor, ``ray.serve.deployment`` a deployment.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from retrieval.explain import Explained, explain
from retrieval.open import open_index, read_meta
from retrieval.search import Retriever, SearchHit, SearchQuery, check_query
from serving.batcher import Batcher

Vectors = npt.NDArray[np.float32] | None
Asked = tuple[SearchQuery, Vectors, Vectors]


class IndexActor:
    """Answers searches; those that arrive together go to the index as one batch.

    Args:
        artifact: the index stage's folder.
        max_batch: most searches in a batch.

    Raises:
        InputError: if there is no finished index.
    """

    def __init__(self, artifact: Path, max_batch: int = 64) -> None:
        self._meta = read_meta(artifact)
        self._index = open_index(artifact)
        self._retriever = Retriever(self._index, self._meta)
        self._ask = Batcher[Asked, list[SearchHit]](self._answer, max_batch)
        self._ask_why = Batcher[Asked, list[Explained]](self._explain, max_batch)

    async def search(self, query: SearchQuery, vector: Vectors, tokens: Vectors = None) -> list[SearchHit]:
        """The best documents of one query.

        Args:
            query: what is asked.
            vector: its vector, float32 of shape (``meta.question_dim``,); None in mode bm25.
            tokens: its token vectors, float32 of shape (tokens, late_dim); None unless the mode is late.

        Raises:
            InputError: if the filter names a key that the index cannot filter by, or the mode is late and the index
                holds no token vectors.
        """
        check_query(self._meta, query)
        return await self._ask((query, vector, tokens))

    async def explain(self, query: SearchQuery, vector: Vectors, tokens: Vectors = None) -> list[Explained]:
        """The best documents of one query with the reasons for each; otherwise as ``search``."""
        check_query(self._meta, query)
        return await self._ask_why((query, vector, tokens))

    @property
    def longest_s(self) -> float:
        """How long the batch has been searched that is searched longest, in seconds; 0 where none is."""
        return max(self._ask.longest_s, self._ask_why.longest_s)

    def close(self) -> None:
        """Release the index."""
        self._index.close()

    def _explain(self, asked: list[Asked]) -> list[list[Explained]]:
        return [explain(self._retriever, *one) for one in asked]

    def _answer(self, asked: list[Asked]) -> list[list[SearchHit]]:
        queries, vectors, tokens = zip(*asked, strict=True)
        return self._retriever.answer(queries, vectors, tokens)
