"""Documents as they are put to passages with vectors, cut and embedded as the run's own stages do it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np

from data.encoders.config import EncoderConfig
from data.errors import InputError
from data.metadata import BadMetadata, metadata_object
from data.passages import Cut
from data.passages.chunk import cutter
from data.passages.document_steps import DocumentSteps
from data.passages.fixed import word_starts
from data.passages.semantic import cut_sentences, distances, join_sentences
from data.passages.text import passage_text, passage_title
from data.sources.cells import BadCell, moment
from retrieval.index import IndexMeta
from serving.artifacts import LiveConfig
from serving.embedding import VectorSource
from serving.errors import ApiError
from serving.live import form_of
from serving.live_rows import PreparedDocument, Vectors
from serving.schemas.documents import NewDocument

Row = dict[str, Any]
"""A document with the columns of the documents table; ``metadata`` as a mapping."""


class Preparer:
    """Makes passages of documents.

    Args:
        config: how the run changes and cuts documents.
        encoder: of the run, whose tokens are counted where that is how documents are cut.
        meta: of the index.
        source: of vectors of passages, by that encoder.

    Attributes:
        form: of what it makes, as of ``form_of``.

    Raises:
        InputError: if the run has a step that cannot be found.
    """

    def __init__(self, config: LiveConfig, encoder: EncoderConfig, meta: IndexMeta, source: VectorSource) -> None:
        self._config, self._meta, self._source, self.form = config, meta, source, form_of(config, meta)
        self._steps, self._busy = DocumentSteps(config.steps), Lock()
        starts = lambda texts: [word_starts(text) for text in texts]  # noqa: E731 - the other one is returned to us
        if config.chunk.strategy == "fixed":
            from data.encoders.transformer.token_starts import token_starts

            starts = token_starts(encoder)
        self._cut: Callable[[Sequence[str]], list[list[Cut]]] = cutter(config.chunk, starts)

    async def prepare(self, documents: Sequence[NewDocument]) -> list[PreparedDocument]:
        """Documents with their passages and vectors, in their order.

        Raises:
            ApiError: if a document is empty, its metadata cannot be kept, or a step of the run fails on it.
            EncoderUnavailable: if there are no vectors in time.
            TextRefused: if the encoder refuses a passage.
        """
        rows = [row_of(document) for document in documents]
        changed = await asyncio.to_thread(self._changed, rows)
        cuts = await self._cuts([row["text"] for row in changed])
        titles = [passage_title(row["title"], row["text"], self._config.chunk.with_title) for row in changed]
        texts = [
            passage_text(title, row["text"][start:end])
            for row, title, of_row in zip(changed, titles, cuts, strict=True)
            for (start, end), _ in of_row
        ]
        vectors = (await self._source.embed(texts, "document")).vectors
        tokens = await self._tokens(texts)
        ends = np.cumsum([len(of_row) for of_row in cuts]).tolist()
        return [
            PreparedDocument(
                id=row["id"],
                source={**row, "time": None if row["time"] is None else row["time"].isoformat()},
                title=new["title"],
                text=new["text"],
                metadata=new["metadata"],
                cuts=of_row,
                passage_title=title,
                vectors=vectors[end - len(of_row) : end],
                tokens=None if tokens is None else tokens[end - len(of_row) : end],
            )
            for row, new, title, of_row, end in zip(rows, changed, titles, cuts, ends, strict=True)
        ]

    def _changed(self, rows: Sequence[Row]) -> list[Row]:
        try:
            with self._busy:  # a step is asked by one at a time, as in the run's own stage
                return self._steps(rows, "a request")
        except InputError as error:
            raise ApiError("invalid_request", error.problem, "documents", "step_failed") from error

    async def _cuts(self, texts: Sequence[str]) -> list[list[Cut]]:
        if self._config.chunk.strategy != "semantic":
            return await asyncio.to_thread(self._cut, texts)
        return [[(span, None) for span in await self._by_meaning(text)] for text in texts]

    async def _by_meaning(self, text: str) -> list[tuple[int, int]]:
        """The spans of a text that are cut where sentences differ most, as ``data.passages.chunk_semantic`` does it."""
        chunk, longest = self._config.chunk, self._config.chunk.max_chars or len(text)
        sentences = cut_sentences(text, longest) if len(text) > chunk.min_chars else []
        if len(sentences) < 2:
            start = len(text) - len(text.lstrip())
            return [(start, start + len(text.strip()))] if text.strip() else [(0, 0)]
        vectors = (await self._source.embed([text[start:end] for start, end in sentences], "document")).vectors
        return join_sentences(sentences, distances(vectors), chunk.percentile, chunk.min_chars, longest)

    async def _tokens(self, texts: list[str]) -> list[Vectors] | None:
        if self._meta.late_dim is None:
            return None
        rows = await self._source.embed_tokens(texts, "document")
        return [vectors[: self._config.late_tokens] for vectors, _ in rows]


class Preparers:
    """How documents are prepared for the releases that are open in this process.

    Those of one form prepare alike: a document is prepared once for all of them.
    """

    def __init__(self) -> None:
        self._of_release: dict[str, Preparer] = {}

    def add(self, release: str, preparer: Preparer) -> None:
        """A release is open from now on."""
        self._of_release[release] = preparer

    def remove(self, release: str) -> None:
        """A release is closed."""
        self._of_release.pop(release, None)

    def by_form(self, first: Preparer) -> dict[str, Preparer]:
        """One for each form, that of ``first`` first."""
        return {one.form: one for one in (first, *self._of_release.values())}


def row_of(document: NewDocument) -> Row:
    """A document as the corpus would have it.

    Raises:
        ApiError: if it is empty, or its metadata or its time cannot be kept; it names the document.
    """
    if not document.title.strip() and not document.text.strip():
        raise ApiError("invalid_request", f"document {document.id!r} has neither text nor title", "documents")
    try:
        metadata: Mapping[str, Any] = metadata_object(document.metadata.items())
        time = None if document.time is None else moment(document.time)
    except (BadMetadata, BadCell) as error:
        message = f"document {document.id!r} cannot be kept: {error}"
        raise ApiError("invalid_request", message, "documents") from None
    return {"id": document.id, "title": document.title, "text": document.text, "metadata": metadata, "time": time}
