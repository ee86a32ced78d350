"""Documents while a service runs: put, deleted, and looked up with the corpus's own."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from data.errors import EncoderUnavailable, InputError, TextRefused
from data.labels import label
from serving.admission import Admission
from serving.embedding import EmbeddingLimits, estimated_tokens
from serving.errors import ApiError
from serving.live_folder import Changed, TooMany
from serving.live_rows import Change, PreparedDocument, PutDocument, Stored
from serving.live_store import NotOwner, NotWritten
from serving.lookup import LookupFile
from serving.prepare import Preparer, Preparers
from serving.schemas import Document, LinksResponse
from serving.schemas.documents import NewDocument, Written

logger = logging.getLogger("catena")

AT_ONCE = 32  # documents that are prepared together for a release that lacks them


class LiveIndexOwner(Protocol):
    """What owns the live documents of a release, in this process or another; ``serving.live`` says what it does."""

    async def change(self, changes: Sequence[Change]) -> Changed:
        """Put and delete documents."""

    async def lacking(self, most: int) -> list[Stored]:
        """Some documents that were put and were not prepared in the release's form."""

    async def supply(self, prepared: Sequence[tuple[int, PreparedDocument]]) -> None:
        """Such documents, prepared now, each with the number of its write."""

    async def standing(self, ids: Sequence[str]) -> dict[str, bool]:
        """Of some documents those that were put or deleted."""

    async def document(self, id_: str) -> Document | None:
        """A document that was put."""


class Writing(Protocol):
    """What takes documents, of one release or of several."""

    async def put(self, documents: Sequence[NewDocument]) -> Written:
        """Put documents in the place of those that have their ids. On disk and found by searches when this returns.

        Raises:
            ApiError: if the service takes none, one is wrong, there is no room, too much waits already, the encoder
                is unavailable, the disk refuses, or another process takes them; then none was put.
        """

    async def delete(self, ids: Sequence[str]) -> Written:
        """Delete documents, those of the corpus among them; an id that is unknown is counted as such.

        Raises:
            ApiError: if the service takes no writes, the disk refuses, or another process takes them.
        """


async def nothing() -> None:
    """There are no releases but one."""


class DocumentsService:
    """Takes documents.

    Args:
        owner: of the live documents of a release.
        preparer: makes passages of them for that release; None where it takes none.
        limits: of a request.
        admission: of tokens; documents are bulk work.
        preparers: of all releases that are open in this process.
        catch_up: has what other releases lack prepared, those that this process does not know yet.
    """

    def __init__(
        self,
        owner: LiveIndexOwner,
        preparer: Preparer | None,
        limits: EmbeddingLimits,
        admission: Admission,
        preparers: Preparers | None = None,
        catch_up: Callable[[], Awaitable[None]] = nothing,
    ) -> None:
        self._owner, self._preparer, self._preparers = owner, preparer, preparers or Preparers()
        self._limits, self._admission, self._catch_up = limits, admission, catch_up

    async def put(self, documents: Sequence[NewDocument]) -> Written:
        """As of ``Writing``."""
        first = self._taking()
        self._check(documents)
        preparers = self._preparers.by_form(first)
        # Tokens are read of every passage, so a long document is as much work as it has bytes.
        work = sum(estimated_tokens(document.text) + estimated_tokens(document.title) for document in documents)
        try:
            with self._admission.admitted(len(preparers) * work, "bulk"):
                made = {first.form: await first.prepare(documents)}
                for form, preparer in list(preparers.items())[1:]:
                    others = await _prepared_for_another(preparer, documents)
                    if others is not None:
                        made[form] = others
        except TextRefused as error:
            raise ApiError("invalid_request", f"{error.problem}; {error.remedy}", "documents", "text_refused") from None
        except EncoderUnavailable as error:
            raise ApiError("unavailable", error.problem, headers={"Retry-After": "2"}) from None
        puts = [
            PutDocument(one.id, one.source, {form: of_form[place] for form, of_form in made.items()})
            for place, one in enumerate(made[first.form])
        ]
        changed = await self._change(puts)
        if changed.lacking - preparers.keys():
            await self._catch_up()
        return changed.written

    async def delete(self, ids: Sequence[str]) -> Written:
        """As of ``Writing``."""
        self._taking()
        return (await self._change(list(dict.fromkeys(ids)))).written

    async def supply(self) -> None:
        """Prepare what was put before the release was open, or by a process that did not know it.

        Raises:
            InputError: if a document cannot be prepared for it, or the encoder is unavailable.
        """
        if self._preparer is None:
            return
        while some := await self._owner.lacking(AT_ONCE):
            documents = [NewDocument.model_validate(one.source) for one in some]
            try:
                made = await self._preparer.prepare(documents)
            except ApiError as error:
                remedy = "Correct the run's steps, or delete the document."
                raise InputError(f"documents that were put cannot be prepared: {error.message}", remedy) from error
            await self._owner.supply([(one.number, new) for one, new in zip(some, made, strict=True)])

    async def _change(self, changes: Sequence[Change]) -> Changed:
        try:
            return await self._owner.change(changes)
        except TooMany as error:
            raise ApiError("forbidden", f"{error.problem}; {error.remedy}", code="live_documents") from None
        except NotOwner as error:
            raise ApiError("unavailable", error.problem, code="not_owner", headers={"Retry-After": "1"}) from None
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


async def _prepared_for_another(preparer: Preparer, documents: Sequence[NewDocument]) -> list[PreparedDocument] | None:
    """Documents for a release that is not the one asked, such as a canary; None where it cannot have them now.

    What is wrong with it is no reason to refuse a document. It is tried again beside the requests.
    """
    try:
        return await preparer.prepare(documents)
    except (ApiError, EncoderUnavailable, TextRefused) as error:
        logger.warning("documents: not prepared for another release: %s", error)
        return None


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
