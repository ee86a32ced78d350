"""Documents while a service runs: put, deleted, and looked up with the corpus's own."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from data.errors import EncoderUnavailable, TextRefused
from data.labels import label
from serving.admission import Admission
from serving.embedding import EmbeddingLimits, estimated_tokens
from serving.errors import ApiError
from serving.live import TooMany
from serving.live_store import Change, NotWritten
from serving.lookup import LookupFile
from serving.prepare import PassageEncoder, Preparer
from serving.schemas import Document, LinksResponse
from serving.schemas.documents import NewDocument, Written


class LiveIndexOwner(Protocol):
    """What owns the live documents, in this process or another; ``serving.live`` says what it does."""

    async def change(self, changes: Sequence[Change]) -> Written:
        """Put and delete documents."""

    async def standing(self, ids: Sequence[str]) -> dict[str, bool]:
        """Of some documents those that were put or deleted."""

    async def document(self, id_: str) -> Document | None:
        """A document that was put."""


class DocumentsService:
    """Takes documents.

    Args:
        owner: of the live documents.
        preparer: makes passages of them; None where the service takes none.
        encoder: of passages.
        limits: of a request.
        admission: of tokens; documents are bulk work.
    """

    def __init__(
        self,
        owner: LiveIndexOwner,
        preparer: Preparer | None,
        encoder: PassageEncoder,
        limits: EmbeddingLimits,
        admission: Admission,
    ) -> None:
        self._owner, self._preparer, self._encoder = owner, preparer, encoder
        self._limits, self._admission = limits, admission

    async def put(self, documents: Sequence[NewDocument]) -> Written:
        """Put documents in the place of those that have their ids. On disk and found by searches when this returns.

        Raises:
            ApiError: if the service takes none, one is wrong, there is no room, too much waits already, the encoder
                is unavailable or the disk refuses; then none was put.
        """
        preparer = self._taking()
        self._check(documents)
        # Tokens are read of every passage, so a long document is as much work as it has bytes.
        work = sum(estimated_tokens(document.text) + estimated_tokens(document.title) for document in documents)
        try:
            with self._admission.admitted(work, "bulk"):
                prepared = await preparer.prepare(documents, self._encoder)
        except TextRefused as error:
            raise ApiError("invalid_request", f"{error.problem}; {error.remedy}", "documents", "text_refused") from None
        except EncoderUnavailable as error:
            raise ApiError("unavailable", error.problem, headers={"Retry-After": "2"}) from None
        return await self._change(prepared)

    async def delete(self, ids: Sequence[str]) -> Written:
        """Delete documents, those of the corpus among them; an id that is unknown is counted as such.

        Raises:
            ApiError: if the service takes no writes, or the disk refuses.
        """
        self._taking()
        return await self._change(list(dict.fromkeys(ids)))

    async def _change(self, changes: Sequence[Change]) -> Written:
        try:
            return await self._owner.change(changes)
        except TooMany as error:
            raise ApiError("forbidden", f"{error.problem}; {error.remedy}", code="live_documents") from None
        except NotWritten as error:
            raise ApiError("unavailable", error.problem, headers={"Retry-After": "5"}) from None

    def _taking(self) -> Preparer:
        if self._preparer is None:
            raise ApiError("not_found", "this service takes no documents: serve.live_documents is 0")
        return self._preparer

    def _check(self, documents: Sequence[NewDocument]) -> None:
        seen: set[str] = set()
        for document in documents:
            if document.id in seen:
                raise ApiError("invalid_request", f"the id {document.id!r} occurs twice in documents", "documents")
            seen.add(document.id)
            if len(document.text) > self._limits.max_chars:
                length = f"{len(document.text):,} characters; at most {self._limits.max_chars:,}: split it"
                raise ApiError("invalid_request", f"the text of document {document.id!r} has {length}", "documents")


class LiveLookup:
    """The corpus's documents and links, with those that were put and without those that were deleted.

    Args:
        corpus: documents and links of the index.
        owner: of the live documents.
    """

    def __init__(self, corpus: LookupFile, owner: LiveIndexOwner) -> None:
        self._corpus, self._owner = corpus, owner

    async def document(self, id_: str) -> Document | None:
        """As of ``Lookup``."""
        there = (await self._owner.standing([id_])).get(id_)
        if there is None:
            return await self._corpus.document(id_)
        return await self._put(id_) if there else None

    async def links(self, id_: str, limit: int) -> LinksResponse | None:
        """As of ``Lookup``; a document that was put has the links that the corpus has of its id."""
        found, standing = await asyncio.gather(self._corpus.links(id_, limit), self._owner.standing([id_]))
        if id_ in standing:
            put = await self._put(id_) if standing[id_] else None
            if put is None:
                return None
            found = found or LinksResponse(id=id_, title=put.title, known=[], discovered=[])
            found = found.model_copy(update={"title": put.title})
        if found is None:
            return None
        ends = [*(link.id for link in found.known), *(link.id for link in found.discovered)]
        others = await self._owner.standing(ends)
        if False not in others.values():
            return found
        known = [link for link in found.known if others.get(link.id, True)]
        discovered = [link for link in found.discovered if others.get(link.id, True)]
        return found.model_copy(update={"known": known, "discovered": discovered})

    async def _put(self, id_: str) -> Document | None:
        found = await self._owner.document(id_)
        return None if found is None else found.model_copy(update={"title": label(id_, found.title)})
