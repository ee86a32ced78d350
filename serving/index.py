"""An index in a process of its own.

Qdrant Edge holds the GIL while it searches: in the process that takes requests, they wait for some milliseconds. The
class is plain Python: ``ray.remote`` makes it an actor, ``ray.serve.deployment`` a deployment.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from retrieval.expansion import LinkExpander
from retrieval.explain import Explained, explain
from retrieval.hits import SearchHit
from retrieval.open import open_index, read_meta
from retrieval.query import SearchQuery, check_query
from retrieval.search import Retriever
from serving.artifacts import LiveConfig
from serving.batcher import Batcher
from serving.live import LiveDocuments
from serving.live_folder import Changed
from serving.live_rows import Change, PreparedDocument, Stored
from serving.lookup import LookupFile
from serving.schemas import Document

Vectors = npt.NDArray[np.float32] | None
Asked = tuple[SearchQuery, Vectors, Vectors]


class IndexActor:
    """Answers searches; those that arrive together go to the index as one batch.

    Args:
        artifact: the index stage's folder.
        live: documents that are put beside the index; it takes none where None.
        lookup: folder of the corpus's documents and links; needed where it takes documents or follows links.
        max_batch: most searches in a batch.

    Raises:
        InputError: if there is no finished index.
    """

    def __init__(
        self, artifact: Path, live: LiveConfig | None = None, lookup: Path | None = None, max_batch: int = 64
    ) -> None:
        self._meta = read_meta(artifact)
        self._index, self._live = open_index(artifact), None
        corpus = None if lookup is None else LookupFile(lookup)
        if live is not None:
            assert corpus is not None, "whoever takes documents knows those of the corpus"
            self._live = LiveDocuments(self._index, self._meta, artifact, corpus, live)
            self._index = self._live.index
        expander = None if corpus is None else LinkExpander(self._index.query_batch, self._meta, corpus)
        self._retriever = Retriever(self._index, self._meta, expander=expander)
        self._ask = Batcher[Asked, list[SearchHit]](self._answer, max_batch, phases=False)
        self._ask_why = Batcher[Asked, list[Explained]](self._explain, max_batch, phases=False)

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

    async def version(self) -> int:
        """Number of the last write to the live documents: it changes when an answer may."""
        if self._live is None:
            return 0
        version = self._live.version
        return await asyncio.to_thread(self._live.follow) if version is None else version

    async def change(self, changes: Sequence[Change]) -> Changed:
        """As of ``LiveDocuments``, which are there."""
        assert self._live is not None, "the service refuses documents where none are taken"
        return await self._live.change(changes)

    async def lacking(self, most: int) -> list[Stored]:
        """As of ``LiveDocuments``."""
        return [] if self._live is None else self._live.lacking(most)

    async def supply(self, prepared: Sequence[tuple[int, PreparedDocument]]) -> None:
        """As of ``LiveDocuments``, which are there."""
        assert self._live is not None, "it lacks none"
        await asyncio.to_thread(self._live.supply, prepared)

    async def standing(self, ids: Sequence[str]) -> dict[str, bool]:
        """As of ``LiveDocuments``."""
        if self._live is None:
            return {}
        await self.version()
        return self._live.standing(ids)

    async def document(self, id_: str) -> Document | None:
        """As of ``LiveDocuments``."""
        return None if self._live is None else await asyncio.to_thread(self._live.document, id_)

    @property
    def longest_s(self) -> float:
        """How long the batch has been searched that is searched longest, in seconds; 0 where none is."""
        return max(self._ask.longest_s, self._ask_why.longest_s)

    def close(self) -> None:
        """Release files and connections."""
        (self._index if self._live is None else self._live).close()

    def _explain(self, asked: list[Asked]) -> list[list[Explained]]:
        if self._live is not None:
            self._live.follow()
        return [explain(self._retriever, *one) for one in asked]

    def _answer(self, asked: list[Asked]) -> list[list[SearchHit]]:
        if self._live is not None:
            self._live.follow()
        queries, vectors, tokens = zip(*asked, strict=True)
        return self._retriever.answer(queries, vectors, tokens)
