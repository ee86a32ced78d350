"""The calls of the service as its clients make them, apart from how they wait: requests, answers, errors, retries."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from data.errors import InputError
from serving.schemas import Document, ErrorBody, ErrorDetail, LinksResponse, SearchResponse
from serving.schemas.documents import Written
from serving.schemas.embeddings import Embedding, EmbeddingsResponse, Output
from serving.schemas.feedback import FeedbackResponse
from serving.schemas.links import LinkScores
from serving.schemas.models import Models
from serving.schemas.rank import RankResponse
from serving.schemas.rerank import RerankResponse

Answer = TypeVar("Answer")
Part = TypeVar("Part")
Vectors = npt.NDArray[np.float32]
Texts = Sequence[str] | Sequence[Sequence[int]]
"""Texts, or lists of the ids of the model's tokenizer."""

RETRIED = frozenset({429, 503})
BROKEN = frozenset({500, 502, 504})  # asked again where what is in front of the service says so, as for a dead replica
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 60.0  # the service says at most 60
EVENTS_PART = 1000  # events of one request
PART, TOKENS_PART, PAIRS_PART = 64, 16, 1000  # texts in one request; of which vectors of tokens are wanted; pairs
DOCUMENT_CHARS, IDS_PART = 500_000, 1000  # of the documents in one request; ids to be deleted
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


def search(query: str, options: Mapping[str, Any]) -> Call[SearchResponse]:
    """Documents that answer a question."""
    return Call("POST", "/v1/search", _reads(SearchResponse), {"query": query, **options})


def embed(texts: Texts, options: Mapping[str, Any]) -> list[Call[Vectors]]:
    """Vectors of texts, in parts."""
    return [
        Call("POST", "/v1/embeddings", _vectors, {"input": part, **options}, "application/octet-stream")
        for part in parts(texts, PART)
    ]


def embeddings(texts: Texts, output: Sequence[Output], options: Mapping[str, Any]) -> list[Call[list[Embedding]]]:
    """All that there is of texts, in parts."""
    size = TOKENS_PART if "tokens" in output else PART
    return [
        Call("POST", "/v1/embeddings", _embeddings(place * size), {"input": part, "output": [*output], **options})
        for place, part in enumerate(parts(texts, size))
    ]


def rerank(query: str, documents: Sequence[str], options: Mapping[str, Any]) -> Call[RerankResponse]:
    """Documents in order."""
    body = {"query": query, "documents": list(documents), **options}
    return Call("POST", "/v1/rerank", _reads(RerankResponse), body)


def rank(intent: str, options: Mapping[str, Any]) -> Call[RankResponse]:
    """Capabilities in order."""
    return Call("POST", "/v1/rank", _reads(RankResponse), {"intent": intent, **options})


def feedback(events: Iterable[Mapping[str, Any]]) -> Iterator[Call[FeedbackResponse]]:
    """What became of answers, in parts."""
    for part in parts(list(events), EVENTS_PART):
        yield Call("POST", "/v1/feedback", _reads(FeedbackResponse), {"events": part})


def document(id_: str) -> Call[Document]:
    """A document."""
    return Call("GET", f"/v1/documents/{_id(id_)}", _reads(Document))


def put(documents: Iterable[Mapping[str, Any]]) -> Iterator[Call[Written]]:
    """Documents put, in parts."""
    for part in _document_parts(documents):
        yield Call("PUT", "/v1/documents", _reads(Written), {"documents": part})


def delete(ids: Iterable[str]) -> Iterator[Call[Written]]:
    """Documents deleted, in parts."""
    if isinstance(ids, str):
        raise TypeError("ids are a list of ids, not one")
    given = iter(ids)
    while part := list(islice(given, IDS_PART)):
        yield Call("DELETE", "/v1/documents", _reads(Written), {"ids": part})


def links(id_: str, limit: int) -> Call[LinksResponse]:
    """Links of a document."""
    return Call("GET", f"/v1/links/{_id(id_)}?limit={limit}", _reads(LinksResponse))


def score_pairs(pairs: Sequence[tuple[str, str]]) -> list[Call[LinkScores]]:
    """How likely links are, in parts."""
    return [_link_scores({"pairs": part}) for part in parts(pairs, PAIRS_PART)]


def links_of_text(text: str, options: Mapping[str, Any]) -> Call[LinkScores]:
    """Links of a text that is not in the corpus."""
    return _link_scores({"text": text, **options})


def models() -> Call[Models]:
    """The models that are served."""
    return Call("GET", "/v1/models", _reads(Models))


def parts(items: Sequence[Part], size: int) -> Iterator[list[Part]]:
    """A list in parts of ``size``."""
    if isinstance(items, str):
        raise TypeError("texts are a list of texts, not one")
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def joined(rows: Sequence[Vectors]) -> Vectors:
    """Vectors of the parts of a list, float32 (n, dim)."""
    return np.concatenate(rows) if rows else np.zeros((0, 0), np.float32)


def joined_scores(scores: Sequence[LinkScores]) -> LinkScores:
    """Links of the parts of a list."""
    calibrated = all(one.calibrated for one in scores)
    return LinkScores(calibrated=calibrated, links=[link for one in scores for link in one.links])


def summed(parts: Iterable[Written]) -> Written:
    """What all parts did; what is there after them is as the last one says."""
    total = Written(live=0, version=0)
    for part in parts:
        counts = {name: getattr(total, name) + getattr(part, name) for name in COUNTS}
        total = part.model_copy(update=counts)
    return total


class Tries(Generic[Answer]):
    """What becomes of a call: after each try, how long to wait for the next, or its answer.

    Args:
        call: that is made.
        retries: of what is answered 429 or 503, or not at all.
        url: of the service, for messages.
    """

    def __init__(self, call: Call[Answer], retries: int, url: httpx.URL) -> None:
        self._call, self._left, self._url = call, retries, url
        self._pause_s = FIRST_PAUSE_S
        self.answer: Answer | None = None

    def pause_after(self, outcome: httpx.Response | Exception) -> float | None:
        """How long to wait for the next try: as the service says, else twice as long each time, with jitter.

        Args:
            outcome: of a try.

        Returns:
            Seconds; None where this was the last try, and ``answer`` is what it brought.

        Raises:
            ServiceError: if the service refuses, or there is no try left.
        """
        if isinstance(outcome, Exception):
            lost = not isinstance(outcome, httpx.UnsupportedProtocol | httpx.InvalidURL)
            if not (lost and self._left):
                remedy = "Check the address, and whether the service runs."
                raise ServiceError(f"{self._url} does not answer: {outcome}", remedy) from outcome
        elif not (self._left and _again(outcome)):
            self.answer = _answer(self._call, outcome)
            return None
        self._left -= 1
        said = outcome.headers.get("retry-after", "") if isinstance(outcome, httpx.Response) else ""
        pause, self._pause_s = self._pause_s, min(LONGEST_PAUSE_S, 2 * self._pause_s)
        return min(LONGEST_PAUSE_S, float(said)) if said.isdecimal() else pause * random.uniform(0.5, 1.0)


def _document_parts(documents: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Documents in parts of a bounded number and length; no id twice in one."""
    part: dict[Any, Mapping[str, Any]] = {}
    chars = 0
    for document in documents:
        id_, length = document.get("id"), len(str(document.get("text", "")))
        if part and (len(part) == PART or chars + length > DOCUMENT_CHARS or id_ in part):
            yield list(part.values())
            part, chars = {}, 0
        part[id_] = document
        chars += length
    if part:
        yield list(part.values())


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


def _id(text: str) -> str:
    """An id as a part of a path; one of dots alone would be taken for a folder."""
    return quote(text, safe="").replace(".", "%2E") if set(text) == {"."} else quote(text, safe="")


def _who(response: httpx.Response) -> str:
    return f"the service answered {response.status_code}"


def _reads(type_: type[Answer]) -> Callable[[httpx.Response], Answer]:
    adapter = TypeAdapter(type_)
    return lambda response: adapter.validate_json(response.content)


def _link_scores(body: Mapping[str, Any]) -> Call[LinkScores]:
    return Call("POST", "/v1/links:score", _reads(LinkScores), body)


def _embeddings(first: int) -> Callable[[httpx.Response], list[Embedding]]:
    """Reads rows, the first of which has a place in the whole list."""
    read = _reads(EmbeddingsResponse)
    return lambda response: [one.model_copy(update={"index": first + one.index}) for one in read(response).data]


def _vectors(response: httpx.Response) -> Vectors:
    rows, dim = map(int, response.headers["x-shape"].split(","))
    return np.frombuffer(response.content, "<f2").reshape(rows, dim).astype(np.float32)
