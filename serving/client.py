"""A client of the service: typed answers, retries with back-off, long lists sent in parts. Sync and async.

with Client("http://127.0.0.1:8000") as catena:
    for hit in catena.search("how do I invert a matrix", top_k=3).results:
        print(hit.title, hit.score)
    vectors = catena.embed(["one text", "another"])   # float32 (2, dim)
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Self, TypeVar
from urllib.parse import quote

import httpx
import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from data.errors import InputError
from serving.schemas import Document, ErrorBody, ErrorDetail, LinksResponse, SearchResponse
from serving.schemas.documents import Written
from serving.schemas.models import Models
from serving.schemas.rerank import RerankResponse

Answer = TypeVar("Answer")
Vectors = npt.NDArray[np.float32]

RETRIED = frozenset({429, 503})
BROKEN = frozenset({500, 502, 504})  # asked again where what is in front of the service says so, as for a dead replica
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 60.0  # the service says at most 60
PART = 64  # texts in one request
PART_CHARS = 500_000  # of documents in one request
PART_IDS = 1000
COUNTS = ("created", "replaced", "deleted", "unknown")


class ServiceError(InputError):
    """What the service answered that is not a success.

    Args:
        problem: in a sentence.
        remedy: what to do.
        status: of HTTP.
        detail: what the service said; None where something in front of it answered.
    """

    def __init__(self, problem: str, remedy: str, status: int = 0, detail: ErrorDetail | None = None) -> None:
        super().__init__(problem, remedy)
        self.status, self.detail = status, detail


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """One request, and how its answer is read."""

    method: str
    path: str
    read: Callable[[httpx.Response], Answer]
    body: Mapping[str, Any] | None = None
    accept: str = "application/json"

    def options(self) -> dict[str, Any]:
        """For httpx's ``request``."""
        return {"method": self.method, "url": self.path, "json": self.body, "headers": {"accept": self.accept}}


class _Backoff:
    """How long to wait before the next try: as the service says, else twice as long each time, with jitter."""

    def __init__(self) -> None:
        self._pause_s = FIRST_PAUSE_S

    def after(self, response: httpx.Response | None) -> float:
        """Seconds to wait after an answer, or after none."""
        said = "" if response is None else response.headers.get("retry-after", "")
        pause, self._pause_s = self._pause_s, min(LONGEST_PAUSE_S, 2 * self._pause_s)
        return min(LONGEST_PAUSE_S, float(said)) if said.isdecimal() else pause * random.uniform(0.5, 1.0)


class _Calls:
    """The calls that there are, the same for both clients."""

    @staticmethod
    def search(query: str, options: Mapping[str, Any]) -> Call[SearchResponse]:
        return Call("POST", "/v1/search", _reads(SearchResponse), {"query": query, **options})

    @staticmethod
    def embed(texts: Sequence[str], options: Mapping[str, Any]) -> Call[Vectors]:
        return Call("POST", "/v1/embeddings", _vectors, {"input": texts, **options}, "application/octet-stream")

    @staticmethod
    def rerank(query: str, documents: Sequence[str], options: Mapping[str, Any]) -> Call[RerankResponse]:
        body = {"query": query, "documents": list(documents), **options}
        return Call("POST", "/v1/rerank", _reads(RerankResponse), body)

    @staticmethod
    def document(id_: str) -> Call[Document]:
        return Call("GET", f"/v1/documents/{_id(id_)}", _reads(Document))

    @staticmethod
    def links(id_: str, limit: int) -> Call[LinksResponse]:
        return Call("GET", f"/v1/links/{_id(id_)}?limit={limit}", _reads(LinksResponse))

    @staticmethod
    def put(documents: Sequence[Mapping[str, Any]]) -> Call[Written]:
        return Call("PUT", "/v1/documents", _reads(Written), {"documents": list(documents)})

    @staticmethod
    def delete(ids: Sequence[str]) -> Call[Written]:
        return Call("DELETE", "/v1/documents", _reads(Written), {"ids": list(ids)})

    @staticmethod
    def models() -> Call[Models]:
        return Call("GET", "/v1/models", _reads(Models))


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
        return self._ask(_Calls.search(query, options))

    def embed(self, texts: Sequence[str], **options: Any) -> Vectors:  # noqa: ANN401 - fields of EmbeddingsRequest
        """Vectors of texts, float32 (n, dim), of unit length to float16's precision, however many texts there are."""
        parts = [self._ask(_Calls.embed(part, options)) for part in _parts(texts)]
        return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)

    def rerank(self, query: str, documents: Sequence[str], **options: Any) -> RerankResponse:  # noqa: ANN401 - likewise
        """Documents in the order in which they answer a question."""
        return self._ask(_Calls.rerank(query, documents, options))

    def document(self, id_: str) -> Document:
        """A document."""
        return self._ask(_Calls.document(id_))

    def put_documents(self, documents: Iterable[Mapping[str, Any]]) -> Written:
        """Put documents, however many: each with ``id`` and the other fields of ``NewDocument``.

        A part that was acknowledged stays where a later one is refused; to put all again changes nothing of it.
        """
        return _sum(self._ask(_Calls.put(part)) for part in _document_parts(documents))

    def delete_documents(self, ids: Iterable[str]) -> Written:
        """Delete documents, however many."""
        return _sum(self._ask(_Calls.delete(part)) for part in _id_parts(ids))

    def links(self, id_: str, limit: int = 100) -> LinksResponse:
        """Links of a document, known and discovered."""
        return self._ask(_Calls.links(id_, limit))

    def models(self) -> Models:
        """The models that are served."""
        return self._ask(_Calls.models())

    def _ask(self, call: Call[Answer]) -> Answer:
        backoff = _Backoff()
        for left in range(self._retries, -1, -1):
            response = None
            try:
                response = self._http.request(**call.options())
            except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
                raise _unreachable(self._http.base_url, error) from error
            except httpx.TransportError as error:
                if not left:
                    raise _unreachable(self._http.base_url, error) from error
            if response is not None and not (left and _again(response)):
                return _answer(call, response)
            time.sleep(backoff.after(response))
        raise AssertionError("the last try answers or raises")


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
        return await self._ask(_Calls.search(query, options))

    async def embed(self, texts: Sequence[str], **options: Any) -> Vectors:  # noqa: ANN401 - fields of EmbeddingsRequest
        """As of ``Client``."""

        async def one(part: Sequence[str]) -> Vectors:
            async with self._side_by_side:
                return await self._ask(_Calls.embed(part, options))

        parts = await asyncio.gather(*(one(part) for part in _parts(texts)))
        return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)

    async def rerank(self, query: str, documents: Sequence[str], **options: Any) -> RerankResponse:  # noqa: ANN401
        """As of ``Client``."""
        return await self._ask(_Calls.rerank(query, documents, options))

    async def document(self, id_: str) -> Document:
        """As of ``Client``."""
        return await self._ask(_Calls.document(id_))

    async def put_documents(self, documents: Iterable[Mapping[str, Any]]) -> Written:
        """As of ``Client``; one part after the other, as they are bulk work."""
        return _sum([await self._ask(_Calls.put(part)) for part in _document_parts(documents)])

    async def delete_documents(self, ids: Iterable[str]) -> Written:
        """As of ``Client``."""
        return _sum([await self._ask(_Calls.delete(part)) for part in _id_parts(ids)])

    async def links(self, id_: str, limit: int = 100) -> LinksResponse:
        """As of ``Client``."""
        return await self._ask(_Calls.links(id_, limit))

    async def models(self) -> Models:
        """As of ``Client``."""
        return await self._ask(_Calls.models())

    async def _ask(self, call: Call[Answer]) -> Answer:
        backoff = _Backoff()
        for left in range(self._retries, -1, -1):
            response = None
            try:
                response = await self._http.request(**call.options())
            except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
                raise _unreachable(self._http.base_url, error) from error
            except httpx.TransportError as error:
                if not left:
                    raise _unreachable(self._http.base_url, error) from error
            if response is not None and not (left and _again(response)):
                return _answer(call, response)
            await asyncio.sleep(backoff.after(response))
        raise AssertionError("the last try answers or raises")


def _headers(key: str | None) -> dict[str, str]:
    return {} if key is None else {"authorization": f"Bearer {key}"}


def _parts(texts: Sequence[str]) -> Iterator[list[str]]:
    if isinstance(texts, str):
        raise TypeError("texts are a list of texts, not one")
    for start in range(0, len(texts), PART):
        yield list(texts[start : start + PART])


def _document_parts(documents: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Documents in parts of a bounded number and length; no id twice in one."""
    part: dict[Any, Mapping[str, Any]] = {}
    chars = 0
    for document in documents:
        id_, length = document.get("id"), len(str(document.get("text", "")))
        if part and (len(part) == PART or chars + length > PART_CHARS or id_ in part):
            yield list(part.values())
            part, chars = {}, 0
        part[id_] = document
        chars += length
    if part:
        yield list(part.values())


def _id_parts(ids: Iterable[str]) -> Iterator[list[str]]:
    if isinstance(ids, str):
        raise TypeError("ids are a list of ids, not one")
    given = iter(ids)
    while part := list(islice(given, PART_IDS)):
        yield part


def _sum(parts: Iterable[Written]) -> Written:
    """What all parts did; what is there after them is as the last one says."""
    total = Written(live=0, version=0)
    for part in parts:
        counts = {
            name: getattr(total, name) + getattr(part, name) for name in ("created", "replaced", "deleted", "unknown")
        }
        total = part.model_copy(update=counts)
    return total


def _answer(call: Call[Answer], response: httpx.Response) -> Answer:
    if response.is_success:
        return call.read(response)
    try:
        detail = ErrorBody.model_validate_json(response.content).error
    except ValidationError:  # from something in front of the service
        said = response.text[:200] or response.reason_phrase
        raise ServiceError(f"{_who(response)}: {said}", "Ask who runs it.", response.status_code) from None
    about = f" ({detail.param})" if detail.param else ""
    remedy = f"In its log the request is {detail.request_id or 'without an id'}."
    raise ServiceError(f"{_who(response)}: {detail.message}{about}", remedy, response.status_code, detail)


def _again(response: httpx.Response) -> bool:
    """Whether a later answer may be another: none of an error that the service itself explains but 429 and 503."""
    if response.status_code in RETRIED:
        return True
    typed = response.headers.get("content-type", "").startswith("application/json")
    return response.status_code in BROKEN and not typed


def _unreachable(url: httpx.URL, error: Exception) -> ServiceError:
    return ServiceError(f"{url} does not answer: {error}", "Check the address, and whether the service runs.")


def _id(text: str) -> str:
    """An id as a part of a path; one of dots alone would be taken for a folder."""
    return quote(text, safe="").replace(".", "%2E") if set(text) == {"."} else quote(text, safe="")


def _who(response: httpx.Response) -> str:
    return f"the service answered {response.status_code}"


def _reads(type_: type[Answer]) -> Callable[[httpx.Response], Answer]:
    adapter = TypeAdapter(type_)
    return lambda response: adapter.validate_json(response.content)


def _vectors(response: httpx.Response) -> Vectors:
    rows, dim = map(int, response.headers["x-shape"].split(","))
    return np.frombuffer(response.content, "<f2").reshape(rows, dim).astype(np.float32)
