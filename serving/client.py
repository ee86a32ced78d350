"""A client of the service: typed answers, retries with back-off, long lists sent in parts. Sync and async.

with Client("http://127.0.0.1:8000") as catena:
    for hit in catena.search("how do I invert a matrix", top_k=3).results:
        print(hit.title, hit.score)
    vectors = catena.embed(["one text", "another"])   # float32 (2, dim)
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar

import httpx

from serving import calls
from serving.calls import Call, ServiceError, Texts, Tries, Vectors
from serving.cursor import FIRST
from serving.schemas import Document, LinksResponse, SearchResponse
from serving.schemas.documents import Written
from serving.schemas.embeddings import Embedding, Output
from serving.schemas.links import LinkScores
from serving.schemas.models import Models
from serving.schemas.rank import RankResponse
from serving.schemas.rerank import RerankResponse

__all__ = ["AsyncClient", "Client", "ServiceError"]

Answer = TypeVar("Answer")
ALL: Sequence[Output] = ("dense", "sparse")


class Client:
    """Asks a service.

    Args:
        url: of the service, such as ``http://127.0.0.1:8000``.
        key: where the service asks for one.
        timeout_s: for one answer.
        retries: of what is answered 429 or 503, or not at all.
        transport: of httpx, for tests.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        timeout_s: float = 60.0,
        retries: int = 4,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(base_url=url, headers=_headers(key), timeout=timeout_s, transport=transport)
        self._retries = retries

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def search(self, query: str, **options: Any) -> SearchResponse:  # noqa: ANN401 - the fields of SearchRequest
        """Documents that answer a question; options are the fields of ``SearchRequest``.

        Raises:
            ServiceError: if the service refuses; so with the others.
        """
        return self._ask(calls.search(query, options))

    def pages(self, query: str, **options: Any) -> Iterator[SearchResponse]:  # noqa: ANN401 - likewise
        """The same in pages of ``top_k``, each asked for when it is wanted."""
        cursor: str | None = FIRST
        while cursor is not None:
            page = self.search(query, **options, cursor=cursor)
            yield page
            cursor = page.next_cursor

    def embed(self, texts: Texts, **options: Any) -> Vectors:  # noqa: ANN401 - fields of EmbeddingsRequest
        """Vectors of texts, float32 (n, dim), of unit length to float16's precision, however many texts there are."""
        return calls.joined([self._ask(call) for call in calls.embed(texts, options)])

    def embeddings(
        self,
        texts: Texts,
        output: Sequence[Output] = ALL,
        **options: Any,  # noqa: ANN401 - likewise
    ) -> list[Embedding]:
        """Vectors, weights of terms and vectors of tokens, what is asked for of each text."""
        return [row for call in calls.embeddings(texts, output, options) for row in self._ask(call)]

    def rerank(self, query: str, documents: Sequence[str], **options: Any) -> RerankResponse:  # noqa: ANN401 - likewise
        """Documents in the order in which they answer a question."""
        return self._ask(calls.rerank(query, documents, options))

    def rank(self, intent: str, **options: Any) -> RankResponse:  # noqa: ANN401 - the fields of RankRequest
        """Capabilities that serve an intent, in the order in which they are to be shown."""
        return self._ask(calls.rank(intent, options))

    def feedback(self, events: Iterable[Mapping[str, Any]]) -> int:
        """Tell what became of answers: events with the fields of ``FeedbackEvent``; how many are on disk.

        Events that were told before count once, so all may be told again where one part was refused.
        """
        return sum(self._ask(call).accepted for call in calls.feedback(events))

    def document(self, id_: str) -> Document:
        """A document."""
        return self._ask(calls.document(id_))

    def put_documents(self, documents: Iterable[Mapping[str, Any]]) -> Written:
        """Put documents, however many: each with ``id`` and the other fields of ``NewDocument``.

        A part that was acknowledged stays where a later one is refused; to put all again changes nothing of it.
        """
        return calls.summed(self._ask(call) for call in calls.put(documents))

    def delete_documents(self, ids: Iterable[str]) -> Written:
        """Delete documents, however many."""
        return calls.summed(self._ask(call) for call in calls.delete(ids))

    def links(self, id_: str, limit: int = 100) -> LinksResponse:
        """Links of a document, known and discovered."""
        return self._ask(calls.links(id_, limit))

    def score_pairs(self, pairs: Sequence[tuple[str, str]]) -> LinkScores:
        """How likely the links of pairs of documents are, in order."""
        return calls.joined_scores([self._ask(call) for call in calls.score_pairs(pairs)])

    def links_of_text(self, text: str, **options: Any) -> LinkScores:  # noqa: ANN401 - fields of LinkScoreRequest
        """Links of a text that is not in the corpus."""
        return self._ask(calls.links_of_text(text, options))

    def models(self) -> Models:
        """The models that are served, and the ways to search."""
        return self._ask(calls.models())

    def _ask(self, call: Call[Answer]) -> Answer:
        tries = Tries(call, self._retries, self._http.base_url)
        while True:
            outcome: httpx.Response | Exception
            try:
                outcome = self._http.request(**call.options())
            except (httpx.TransportError, httpx.InvalidURL) as error:
                outcome = error
            pause_s = tries.pause_after(outcome)
            if pause_s is None:
                assert tries.answer is not None, "the last try answers or raises"
                return tries.answer
            time.sleep(pause_s)


class AsyncClient:
    """The same for asyncio; parts of long lists are asked for side by side.

    Args:
        url: of the service.
        key: where the service asks for one.
        timeout_s: for one answer.
        retries: of what is answered 429 or 503, or not at all.
        side_by_side: parts of long lists that are asked for at once.
        transport: of httpx, for tests.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        timeout_s: float = 60.0,
        retries: int = 4,
        side_by_side: int = 4,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(base_url=url, headers=_headers(key), timeout=timeout_s, transport=transport)
        self._retries, self._side_by_side = retries, asyncio.Semaphore(side_by_side)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def search(self, query: str, **options: Any) -> SearchResponse:  # noqa: ANN401 - the fields of SearchRequest
        """As of ``Client``."""
        return await self._ask(calls.search(query, options))

    async def pages(self, query: str, **options: Any) -> AsyncIterator[SearchResponse]:  # noqa: ANN401 - likewise
        """As of ``Client``."""
        cursor: str | None = FIRST
        while cursor is not None:
            page = await self.search(query, **options, cursor=cursor)
            yield page
            cursor = page.next_cursor

    async def embed(self, texts: Texts, **options: Any) -> Vectors:  # noqa: ANN401 - fields of EmbeddingsRequest
        """As of ``Client``."""
        return calls.joined(await self._ask_all(calls.embed(texts, options)))

    async def embeddings(
        self,
        texts: Texts,
        output: Sequence[Output] = ALL,
        **options: Any,  # noqa: ANN401 - likewise
    ) -> list[Embedding]:
        """As of ``Client``."""
        rows = await self._ask_all(calls.embeddings(texts, output, options))
        return [row for part in rows for row in part]

    async def rerank(self, query: str, documents: Sequence[str], **options: Any) -> RerankResponse:  # noqa: ANN401
        """As of ``Client``."""
        return await self._ask(calls.rerank(query, documents, options))

    async def rank(self, intent: str, **options: Any) -> RankResponse:  # noqa: ANN401 - likewise
        """As of ``Client``."""
        return await self._ask(calls.rank(intent, options))

    async def feedback(self, events: Iterable[Mapping[str, Any]]) -> int:
        """As of ``Client``."""
        return sum([(await self._ask(call)).accepted for call in calls.feedback(events)])

    async def document(self, id_: str) -> Document:
        """As of ``Client``."""
        return await self._ask(calls.document(id_))

    async def put_documents(self, documents: Iterable[Mapping[str, Any]]) -> Written:
        """As of ``Client``; one part after the other, as they are bulk work."""
        return calls.summed([await self._ask(call) for call in calls.put(documents)])

    async def delete_documents(self, ids: Iterable[str]) -> Written:
        """As of ``Client``."""
        return calls.summed([await self._ask(call) for call in calls.delete(ids)])

    async def links(self, id_: str, limit: int = 100) -> LinksResponse:
        """As of ``Client``."""
        return await self._ask(calls.links(id_, limit))

    async def score_pairs(self, pairs: Sequence[tuple[str, str]]) -> LinkScores:
        """As of ``Client``."""
        return calls.joined_scores(await self._ask_all(calls.score_pairs(pairs)))

    async def links_of_text(self, text: str, **options: Any) -> LinkScores:  # noqa: ANN401 - fields of LinkScoreRequest
        """As of ``Client``."""
        return await self._ask(calls.links_of_text(text, options))

    async def models(self) -> Models:
        """As of ``Client``."""
        return await self._ask(calls.models())

    async def _ask_all(self, parts: Sequence[Call[Answer]]) -> list[Answer]:
        async def one(call: Call[Answer]) -> Answer:
            async with self._side_by_side:
                return await self._ask(call)

        return await asyncio.gather(*map(one, parts))

    async def _ask(self, call: Call[Answer]) -> Answer:
        tries = Tries(call, self._retries, self._http.base_url)
        while True:
            outcome: httpx.Response | Exception
            try:
                outcome = await self._http.request(**call.options())
            except (httpx.TransportError, httpx.InvalidURL) as error:
                outcome = error
            pause_s = tries.pause_after(outcome)
            if pause_s is None:
                assert tries.answer is not None, "the last try answers or raises"
                return tries.answer
            await asyncio.sleep(pause_s)


def _headers(key: str | None) -> dict[str, str]:
    return {} if key is None else {"authorization": f"Bearer {key}"}
