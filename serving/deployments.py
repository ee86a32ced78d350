"""What encodes and what searches in processes of their own, each with all releases that are served."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.cache import CacheConfig
from data.encoders.protocol import Encoded
from retrieval.blend import Blend
from retrieval.explain import Explained
from retrieval.hits import SearchHit
from retrieval.pairs import Scored
from retrieval.query import SearchQuery
from serving.config import ServeConfig
from serving.embedder import Embedder, use_threads
from serving.embedding import Kind, TokenRows
from serving.index import IndexActor
from serving.live_folder import Changed
from serving.live_rows import Change, PreparedDocument, Stored
from serving.named import LocalModels
from serving.opening import Embedders, Rankers, open_with_documents
from serving.ranking import CrossEncoderRanker
from serving.releases import Releases
from serving.remote import NAMED
from serving.scaling import BATCHES
from serving.schemas import Document

Vectors = npt.NDArray[np.float32]


class IndexDeployment:
    """The indexes of the releases that are served, in a process of their own.

    Args:
        traffic: file of the releases.
        config: of the service.
    """

    def __init__(self, traffic: Path, config: ServeConfig) -> None:
        self._hang_after_s = config.hang_after_s
        self._releases = Releases[IndexActor](traffic, open_with_documents, IndexActor.close)

    async def search(
        self, release: str, query: SearchQuery, vector: Vectors | None, tokens: Vectors | None
    ) -> list[SearchHit]:
        """As of ``Index``, in the index of a release."""
        return await (await self._releases.get(release)).search(query, vector, tokens)

    async def explain(
        self, release: str, query: SearchQuery, vector: Vectors | None, tokens: Vectors | None
    ) -> list[Explained]:
        """As of ``Index``."""
        return await (await self._releases.get(release)).explain(query, vector, tokens)

    async def version(self, release: str) -> int:
        """As of ``Index``."""
        return await (await self._releases.get(release)).version()

    async def change(self, release: str, changes: Sequence[Change]) -> Changed:
        """As of ``LiveIndexOwner``, counted by a release and applied to all that are open."""
        return await (await self._releases.get(release)).change(changes)

    async def lacking(self, release: str, most: int) -> list[Stored]:
        """As of ``LiveIndexOwner``."""
        return await (await self._releases.get(release)).lacking(most)

    async def supply(self, release: str, prepared: Sequence[tuple[int, PreparedDocument]]) -> None:
        """As of ``LiveIndexOwner``."""
        await (await self._releases.get(release)).supply(prepared)

    async def standing(self, release: str, ids: Sequence[str]) -> dict[str, bool]:
        """As of ``LiveIndexOwner``."""
        return await (await self._releases.get(release)).standing(ids)

    async def document(self, release: str, id_: str) -> Document | None:
        """As of ``LiveIndexOwner``."""
        return await (await self._releases.get(release)).document(id_)

    def check_health(self) -> None:
        """As of ``Ingress``."""
        check_work([index.longest_s for index in self._releases.opened], self._hang_after_s)


class EmbedderDeployment:
    """The encoders of the releases that are served, and those of ``serve.models``, in a process of their own.

    Methods are given a release, or ``NAMED`` and the name of a model.

    Args:
        traffic: file of the releases.
        config: how big batches are.
        cache: where queries are looked for before they are encoded.
    """

    def __init__(self, traffic: Path, config: ServeConfig, cache: CacheConfig) -> None:
        self._embedders, self._hang_after_s = Embedders(config, cache), config.hang_after_s
        self._releases = Releases[Embedder](traffic, self._embedders.of)
        self._named = LocalModels(config)

    async def encode(self, model: str, text: str) -> Vectors:
        """As of ``QuestionEncoder``."""
        async with self._of(model) as embedder:
            return await embedder.encode(text)

    async def encode_tokens(self, model: str, text: str) -> Vectors:
        """As of ``QuestionEncoder``."""
        async with self._of(model) as embedder:
            return await embedder.encode_tokens(text)

    async def embed(self, model: str, texts: list[str], kind: Kind) -> Encoded:
        """As of ``TextEncoder``."""
        async with self._of(model) as embedder:
            return await embedder.embed(texts, kind)

    async def embed_tokens(self, model: str, texts: list[str], kind: Kind) -> list[TokenRows]:
        """As of ``VectorSource``."""
        async with self._of(model) as embedder:
            return await embedder.embed_tokens(texts, kind)

    async def decode(self, model: str, ids: list[list[int]]) -> list[str]:
        """As of ``VectorSource``."""
        async with self._of(model) as embedder:
            return await embedder.decode(ids)

    async def dim(self, model: str) -> int:
        """As of ``NamedEncoder``."""
        async with self._of(model) as embedder:
            return embedder.dim

    async def loaded(self) -> frozenset[str]:
        """As of ``ModelHost``."""
        return await self._named.loaded()

    def check_health(self) -> None:
        """As of ``Ingress``."""
        working = [embedder.longest_s for embedder in self._releases.opened]
        check_work([*working, self._named.longest_s], self._hang_after_s)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """As of ``Ingress``."""
        return {BATCHES: self._embedders.batches + self._named.batches}

    @asynccontextmanager
    async def _of(self, model: str) -> AsyncIterator[Embedder]:
        if not model.startswith(NAMED):
            yield await self._releases.get(model)
            return
        async with self._named.encoder(model.removeprefix(NAMED)) as embedder:
            yield embedder


class RankerDeployment:
    """The cross-encoders of the releases that are served, and those of ``serve.models``, in a process of their own.

    Pairs of all requests are scored together, in batches by padded token area.

    Args:
        traffic: file of the releases.
        config: how big batches are.
    """

    def __init__(self, traffic: Path, config: ServeConfig) -> None:
        self._hang_after_s = config.hang_after_s
        use_threads(config.encoder_threads)
        self._releases = Releases[CrossEncoderRanker | None](traffic, Rankers(config).of)
        self._named = LocalModels(config)

    async def score(
        self, model: str, query: str, texts: list[str], most: int | None
    ) -> tuple[list[Scored], int, Blend]:
        """As of ``Ranker``, by the model of a release or one that is ``NAMED``; the tokens that it reads; its blend."""
        async with self._of(model) as ranker:
            return await ranker.score(query, texts, most), ranker.longest, ranker.blend

    async def loaded(self) -> frozenset[str]:
        """As of ``ModelHost``."""
        return await self._named.loaded()

    def check_health(self) -> None:
        """As of ``Ingress``."""
        working = [ranker.longest_s for ranker in self._releases.opened if ranker is not None]
        check_work([*working, self._named.longest_s], self._hang_after_s)

    @asynccontextmanager
    async def _of(self, model: str) -> AsyncIterator[CrossEncoderRanker]:
        if not model.startswith(NAMED):
            ranker = await self._releases.get(model)
            assert ranker is not None, "whoever asks has read that the release has one"
            yield ranker
            return
        async with self._named.ranker(model.removeprefix(NAMED)) as named:
            yield named


def check_work(longest_s: list[float], most_s: float) -> None:
    """Fail where a batch has been worked on for too long.

    Args:
        longest_s: seconds of each part's batch that is worked on longest.
        most_s: seconds that a batch may take.

    Raises:
        RuntimeError: if one takes longer; Ray Serve replaces the replica then.
    """
    longest = max(longest_s, default=0.0)
    if longest > most_s:
        raise RuntimeError(f"a batch has been worked on for {longest:.0f} s, more than serve.hang_after_s allows")
