"""Embedder, ranker and index in processes of their own, asked as if they were here.

A replica that dies is asked for again, since its questions have no effects: Ray Serve starts another one, or has one
already. A caller that goes away takes its question out of the replica's queue.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle, DeploymentResponse

from data.encoders.protocol import Encoded
from data.errors import EncoderUnavailable, TextRefused
from retrieval.blend import Blend
from retrieval.explain import Explained
from retrieval.hits import SearchHit
from retrieval.pairs import Scored
from retrieval.query import SearchQuery
from serving.embedding import EmbeddingLimits, Kind, TokenRows
from serving.errors import ApiError
from serving.live_folder import Changed
from serving.live_rows import Change, PreparedDocument, Stored
from serving.ranking import work_of_pairs
from serving.schemas import Document

Vectors = npt.NDArray[np.float32]

NAMED = "model:"  # before the name of a model, where else a release is named
DEAD = (RayActorError, DeploymentUnavailableError, BackPressureError)
ASKED_FOR_S = 10.0  # a replica of an index starts in a few seconds
FIRST_PAUSE_S = 0.05
FRESH_S = 0.5  # for so long an answer is given again before it is asked whether another process has written


async def asked(ask: Callable[[], DeploymentResponse]) -> Any:  # noqa: ANN401 - what the replica returns
    """What a replica answers, the next one where it dies.

    Raises:
        RayActorError: or another of ``DEAD``, if none answers within ``ASKED_FOR_S``.
        Exception: any that the replica raises.
    """
    give_up, pause = time.monotonic() + ASKED_FOR_S, FIRST_PAUSE_S
    while True:
        response = ask()
        try:
            return await response
        except asyncio.CancelledError:
            response.cancel()
            raise
        except DEAD:
            if time.monotonic() > give_up:
                raise
        await asyncio.sleep(pause)
        pause = min(1.0, 2 * pause)


async def _reached(ask: Callable[[], DeploymentResponse], what: str) -> Any:  # noqa: ANN401 - what the replica returns
    """As ``asked``; where no replica of what it names answers, that is unavailable."""
    try:
        return await asked(ask)
    except DEAD as error:
        name = type(error).__name__
        raise EncoderUnavailable(f"no replica of {what} answers: {name}", "See the log.") from error


class RemoteEmbedder:
    """An embedder in processes of its own; whether their caches answer is not known here.

    Args:
        handle: of its deployment.
        release: whose encoder or index is asked.
    """

    cache_degraded = False

    def __init__(self, handle: DeploymentHandle, release: str) -> None:
        self._handle, self._release = handle, release

    async def encode(self, text: str) -> Vectors:
        """As of ``QuestionEncoder``."""
        vector: Vectors = await self._asked(lambda: self._handle.encode.remote(self._release, text))
        return vector

    async def encode_tokens(self, text: str) -> Vectors:
        """As of ``QuestionEncoder``."""
        vectors: Vectors = await self._asked(lambda: self._handle.encode_tokens.remote(self._release, text))
        return vectors

    async def embed(self, texts: list[str], kind: Kind) -> Encoded:
        """As of ``TextEncoder``."""
        encoded: Encoded = await self._asked(lambda: self._handle.embed.remote(self._release, texts, kind))
        return encoded

    async def embed_tokens(self, texts: list[str], kind: Kind) -> list[TokenRows]:
        """As of ``VectorSource``."""
        rows: list[TokenRows] = await self._asked(lambda: self._handle.embed_tokens.remote(self._release, texts, kind))
        return rows

    async def decode(self, ids: list[list[int]]) -> list[str]:
        """As of ``VectorSource``."""
        texts: list[str] = await self._asked(lambda: self._handle.decode.remote(self._release, ids))
        return texts

    async def _asked(self, ask: Callable[[], DeploymentResponse]) -> Any:  # noqa: ANN401 - what the replica returns
        return await _reached(ask, "the encoder")


class RemoteNamedEncoder(RemoteEmbedder):
    """An encoder of ``serve.models`` there.

    Args:
        handle: of the deployment.
        name: of the model.
        dim: of its vectors.
    """

    def __init__(self, handle: DeploymentHandle, name: str, dim: int) -> None:
        super().__init__(handle, NAMED + name)
        self.dim = dim


class RemoteRanker:
    """A cross-encoder in processes of its own.

    Args:
        handle: of its deployment.
        model: the release whose it is, or ``NAMED`` and a name.
        name: as clients call it.
    """

    def __init__(self, handle: DeploymentHandle, model: str, name: str) -> None:
        self._handle, self._model, self.name = handle, model, name
        self._longest, self.blend = EmbeddingLimits.tokens_read, Blend()  # until the first answer says

    def work(self, query: str, texts: list[str], most: int | None) -> float:
        """As of ``Ranker``."""
        return work_of_pairs(query, texts, most, self._longest)

    async def score(self, query: str, texts: list[str], most: int | None) -> list[Scored]:
        """As of ``Ranker``: logits."""
        scored: list[Scored]
        try:
            scored, self._longest, self.blend = await _reached(
                lambda: self._handle.score.remote(self._model, query, texts, most), "the ranker"
            )
        except TextRefused as error:  # a cross-encoder refuses questions alone
            raise TextRefused(error.problem, error.remedy, query) from None
        return scored


class RemoteModels:
    """The models of ``serve.models`` in processes of their own: encoders beside the run's, rankers beside its ranker.

    As ``ModelHost``. Replicas load by themselves what they are asked for.

    Args:
        embedder: deployment that encodes.
        ranker: deployment that ranks; None where no model ranks.
    """

    def __init__(self, embedder: DeploymentHandle, ranker: DeploymentHandle | None) -> None:
        self._embedder, self._ranker = embedder, ranker
        self._dims: dict[str, int] = {}

    @asynccontextmanager
    async def encoder(self, name: str) -> AsyncIterator[RemoteNamedEncoder]:
        """As of ``ModelHost``."""
        if name not in self._dims:
            self._dims[name] = await self._asked(lambda: self._embedder.dim.remote(NAMED + name))
        yield RemoteNamedEncoder(self._embedder, name, self._dims[name])

    @asynccontextmanager
    async def ranker(self, name: str) -> AsyncIterator[RemoteRanker]:
        """As of ``ModelHost``."""
        assert self._ranker is not None, "it is there where a model ranks"
        yield RemoteRanker(self._ranker, NAMED + name, name)

    async def loaded(self) -> frozenset[str]:
        """As of ``ModelHost``: in one replica of each."""
        handles = [handle for handle in (self._embedder, self._ranker) if handle is not None]
        names = await asyncio.gather(*(self._asked(partial(_loaded, handle)) for handle in handles))
        return frozenset().union(*names)

    async def _asked(self, ask: Callable[[], DeploymentResponse]) -> Any:  # noqa: ANN401 - what the replica returns
        return await _reached(ask, "the models")


def _loaded(handle: DeploymentHandle) -> DeploymentResponse:
    return handle.loaded.remote()


class RemoteIndex:
    """An index in a process of its own.

    Args:
        handle: of its deployment.
        release: whose encoder or index is asked.
    """

    def __init__(self, handle: DeploymentHandle, release: str) -> None:
        self._handle, self._release = handle, release
        self._version, self._fresh_until = 0, 0.0

    async def search(self, query: SearchQuery, vector: Vectors | None, tokens: Vectors | None) -> list[SearchHit]:
        """As of ``Index``."""
        hits: list[SearchHit] = await self._asked(
            lambda: self._handle.search.remote(self._release, query, vector, tokens)
        )
        return hits

    async def explain(self, query: SearchQuery, vector: Vectors | None, tokens: Vectors | None) -> list[Explained]:
        """As of ``Index``."""
        found: list[Explained] = await self._asked(
            lambda: self._handle.explain.remote(self._release, query, vector, tokens)
        )
        return found

    async def version(self) -> int:
        """As of ``Index``; what others wrote counts after ``FRESH_S``."""
        if time.monotonic() > self._fresh_until:
            said: int = await self._asked(lambda: self._handle.version.remote(self._release))
            self._told(said)
        return self._version

    async def change(self, changes: Sequence[Change]) -> Changed:
        """As of ``LiveDocuments``; a change may be done twice, and then is as if done once."""
        changed: Changed = await self._asked(lambda: self._handle.change.remote(self._release, changes))
        self._told(changed.written.version)
        return changed

    async def lacking(self, most: int) -> list[Stored]:
        """As of ``LiveDocuments``."""
        some: list[Stored] = await self._asked(lambda: self._handle.lacking.remote(self._release, most))
        return some

    async def supply(self, prepared: Sequence[tuple[int, PreparedDocument]]) -> None:
        """As of ``LiveDocuments``."""
        await self._asked(lambda: self._handle.supply.remote(self._release, prepared))

    async def standing(self, ids: Sequence[str]) -> dict[str, bool]:
        """As of ``LiveDocuments``."""
        standing: dict[str, bool] = await self._asked(lambda: self._handle.standing.remote(self._release, ids))
        return standing

    async def document(self, id_: str) -> Document | None:
        """As of ``LiveDocuments``."""
        found: Document | None = await self._asked(lambda: self._handle.document.remote(self._release, id_))
        return found

    def _told(self, version: int) -> None:
        self._version, self._fresh_until = max(version, self._version), time.monotonic() + FRESH_S

    async def _asked(self, ask: Callable[[], DeploymentResponse]) -> Any:  # noqa: ANN401 - what the replica returns
        try:
            return await asked(ask)
        except DEAD as error:
            message = f"the index does not answer: {type(error).__name__}"
            raise ApiError("unavailable", message, headers={"Retry-After": "2"}) from error
