"""A run's live documents as a release has them: over its index, in the form that it was made in.

Plain Python; it lives with the index, in the process that takes requests or in one of its own. A write is on disk and
found by searches when it is acknowledged.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from data.passages.steps import code_stamp
from data.passages.text import passage_text
from data.schema import passage_id
from retrieval.filter_keys import FilterValues
from retrieval.index import IndexedPassage, IndexMeta, Parent, VectorIndex
from retrieval.live import LiveIndex
from retrieval.terms import TermStatistics, bm25_of
from serving.artifacts import LiveConfig
from serving.live_folder import Changed, LiveFolder, TooMany
from serving.live_rows import Change, PreparedDocument, Stored, Vectors
from serving.lookup import LookupFile
from serving.schemas import Document
from serving.schemas.documents import Written
from serving.scratch import Scratch


def form_of(config: LiveConfig, meta: IndexMeta) -> str:
    """Names all that decides a document's passages and their vectors: one of another form has to be made anew.

    Raises:
        InputError: if the run has a step that cannot be found.
    """
    steps = [{**step.identity(), "code": code_stamp(step)} for step in config.steps]
    late = None if meta.late_dim is None else [meta.late_dim, config.late_tokens]
    decides = {"steps": steps, "chunk": config.chunk.identity(), "encoder": meta.question_encoder, "late": late}
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


class LiveDocuments:
    """A run's live documents over the index of a release.

    Args:
        base: the index.
        meta: its description.
        artifact: the index stage's folder.
        lookup: the documents of the index.
        config: what is taken, and where it is kept.

    Raises:
        InputError: if the index has lost its statistics of words.
    """

    def __init__(
        self, base: VectorIndex, meta: IndexMeta, artifact: Path, lookup: LookupFile, config: LiveConfig
    ) -> None:
        from retrieval.engines.edge import EdgeIndex

        self._meta, self._lookup, self._config, self.form = meta, lookup, config, form_of(config, meta)
        self._bm25 = bm25_of(meta)
        self._filters = FilterValues(meta.filter_keys, foreign=True)
        terms = TermStatistics(artifact)
        self._filled = Scratch(config.folder / "parts")  # from the file, whenever it is opened
        of = meta.filter_keys, meta.config, meta.late_dim
        live = EdgeIndex.create(self._filled.path, meta.question_dim, *of, idf=False)
        self.index = LiveIndex(base, meta, live, terms)
        self._there: dict[str, bool] = {}  # whether it is put, or deleted
        self._live = 0  # that are put
        self._lacking: dict[str, Stored] = {}  # that are put and were not prepared in this form
        self._folder = LiveFolder.opened(config.folder)
        self._folder.join(self, config.folded)
        if live.count() >= meta.config.exact_below_points:
            self.index.finish()

    def follow(self) -> int:
        """Number of the last write that is found, read again where another process writes.

        What was answered at one number may be answered again.
        """
        return self._folder.follow()

    @property
    def version(self) -> int | None:
        """The same without looking; None where another process writes."""
        return self._folder.found if self._folder.leads else None

    async def change(self, changes: Sequence[Change]) -> Changed:
        """As of ``LiveFolder``."""
        return await self._folder.change(self, changes)

    def lacking(self, most: int) -> list[Stored]:
        """Some documents that were put and were not prepared in this form: searches find none of them."""
        return list(islice(list(self._lacking.values()), most))

    def supply(self, prepared: Sequence[tuple[int, PreparedDocument]]) -> None:
        """As of ``LiveFolder``."""
        self._folder.supply(self, prepared)

    def standing(self, ids: Sequence[str]) -> dict[str, bool]:
        """Of some documents those that were put (true) or deleted (false); the corpus has the word on any other."""
        return {id_: self._there[id_] for id_ in ids if id_ in self._there}

    def document(self, id_: str) -> Document | None:
        """A document that was put; None where it was not, or was deleted since."""
        return self._folder.store.document(id_, self.form) if self._there.get(id_) else None

    def close(self) -> None:
        """Close index and store."""
        self._folder.leave(self)
        self.index.close()
        self._folder.close()
        self._filled.close()

    def lacks(self, id_: str, number: int) -> bool:
        """As of ``Part``."""
        return id_ in self._lacking and self._lacking[id_].number == number

    def outcome(self, changes: Sequence[Change], before: dict[str, bool]) -> Written | TooMany:
        """As of ``Part``."""
        counts, after = self._outcome(changes, before)
        more = sum(put - before.get(id_, self._there.get(id_, False)) for id_, put in after.items())
        live = self._live + more + sum(put - self._there.get(id_, False) for id_, put in before.items())
        if more > 0 and live > self._config.limit:
            remedy = "`catena index` puts them into the index; or raise serve.live_documents."
            return TooMany(f"{self._config.limit:,} live documents at most", remedy)
        before |= after
        return Written(**counts, live=live, version=0)

    def apply(self, changes: Sequence[Stored]) -> None:
        """As of ``Part``."""
        last = {change.id: change for change in changes}
        passages = [passage for one in last.values() if one.prepared for passage in self._passages(one.prepared)]
        gone = [id_ for id_, one in last.items() if one.prepared is None]
        if gone:
            self.index.delete(gone)
        if passages:
            self.index.upsert(passages)
        for id_, one in last.items():
            put = one.source is not None
            self._live += put - self._there.get(id_, False)
            self._there[id_] = put
            self._lacking.pop(id_, None)
            if put and one.prepared is None:
                self._lacking[id_] = one

    def _outcome(self, changes: Sequence[Change], before: dict[str, bool]) -> tuple[dict[str, int], dict[str, bool]]:
        """What changes count as, and which documents are put or deleted after them."""
        counts = {"created": 0, "replaced": 0, "deleted": 0, "unknown": 0}
        after: dict[str, bool] = {}
        for change in changes:
            id_, put = (change, False) if isinstance(change, str) else (change.id, True)
            was = after.get(id_, before.get(id_, self._there.get(id_)))
            if was is None:
                was = self._lookup.has(id_)
            counts[("replaced" if was else "created") if put else ("deleted" if was else "unknown")] += 1
            after[id_] = put
        return counts, after

    def _passages(self, document: PreparedDocument) -> Iterator[IndexedPassage]:
        filters = self._filters(document.metadata)
        tokens: Sequence[Vectors | None] = document.tokens or [None] * len(document.cuts)
        for ((start, end), parent), vector, of_tokens in zip(document.cuts, document.vectors, tokens, strict=True):
            text = document.text[start:end]
            yield IndexedPassage(
                id=passage_id(document.id, start, end),
                document_id=document.id,
                title=document.title,
                text=text,
                start=start,
                end=end,
                metadata=document.metadata,
                filters=filters,
                vector=vector,
                sparse=self._bm25.passage(passage_text(document.passage_title, text)),
                parent=None
                if parent is None
                else Parent(passage_id(document.id, *parent), document.text[slice(*parent)], *parent),
                tokens=of_tokens,
            )
