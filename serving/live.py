"""The owner of a run's live documents: takes writes, keeps them on disk, and searches the index with them.

Plain Python; it lives with the index, in the process that takes requests or in one of its own. Writes that arrive
together are one transaction on disk (group commit; Gray and Reuter, "Transaction Processing", 1993). A write is on disk
and found by searches when it is acknowledged.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from data.errors import InputError
from data.lexical import BM25, Tokenizer
from data.passages.config import ChunkConfig
from data.passages.steps import StepConfig, code_stamp
from data.passages.text import passage_text
from data.schema import passage_id
from retrieval.filter_keys import FilterValues
from retrieval.index import IndexedPassage, IndexMeta, Parent, VectorIndex
from retrieval.live import LiveIndex
from retrieval.terms import TermStatistics
from serving.batcher import Batcher
from serving.live_store import Change, LiveStore, PreparedDocument, Vectors
from serving.lookup import LookupFile
from serving.schemas import Document
from serving.schemas.documents import Written

_AT_ONCE = 1000  # changes that are read when the owner starts


class LiveConfig(BaseModel):
    """What a service needs of a run to take documents.

    Args:
        folder: that they are kept in.
        folded: number of the last write that the index has in it.
        limit: most documents beside the index.
        steps: the run's own, that change documents before they are cut.
        chunk: how the run cuts documents.
        late_tokens: most token vectors that the run keeps of a passage.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    folded: int = 0
    limit: int
    steps: tuple[StepConfig, ...] = ()
    chunk: ChunkConfig = ChunkConfig()
    late_tokens: int | None = None


def form_of(config: LiveConfig, meta: IndexMeta) -> str:
    """Names all that decides a document's passages and their vectors: one of another form has to be made anew.

    Raises:
        InputError: if the run has a step that cannot be found.
    """
    steps = [{**step.identity(), "code": code_stamp(step)} for step in config.steps]
    late = None if meta.late_dim is None else [meta.late_dim, config.late_tokens]
    decides = {"steps": steps, "chunk": config.chunk.identity(), "encoder": meta.question_encoder, "late": late}
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


class TooMany(InputError):
    """There are as many live documents as a service takes."""


class LiveDocuments:
    """A run's live documents over its index.

    Args:
        base: the index.
        meta: its description.
        artifact: the index stage's folder.
        lookup: the documents of the index.
        config: what is taken, and where it is kept.

    Raises:
        InputError: if another service owns them, or they were made in another form.
    """

    def __init__(
        self, base: VectorIndex, meta: IndexMeta, artifact: Path, lookup: LookupFile, config: LiveConfig
    ) -> None:
        from retrieval.engines.edge import EdgeIndex

        self._meta, self._lookup, self._config = meta, lookup, config
        self._bm25 = BM25(Tokenizer(meta.config.language), meta.mean_length, meta.config.k1, meta.config.b)
        self._filters = FilterValues(meta.filter_keys, foreign=True)
        self._store = LiveStore(config.folder, form_of(config, meta))
        filled = config.folder / "index"  # from the store, at each start
        shutil.rmtree(filled, ignore_errors=True)
        live = EdgeIndex.create(filled, meta.question_dim, meta.filter_keys, meta.config, meta.late_dim, idf=False)
        self.index = LiveIndex(base, meta, live, TermStatistics(artifact))
        self._there: dict[str, bool] = {}  # whether it is put, or deleted
        self._live = 0  # that are put
        self.version = self._store.last
        """Number of the last write that is found: what was answered at one version may be answered again."""
        changes = self._store.since(config.folded)
        while some := list(islice(changes, _AT_ONCE)):
            self._apply(*self._prepared(some))
        if live.count() >= meta.config.exact_below_points:
            self.index.finish()
        self._write = Batcher[Sequence[Change], Written | TooMany](self._write_all, max_items=64)

    async def change(self, changes: Sequence[Change]) -> Written:
        """Put and delete documents: all of these, or none. They are on disk and found when this returns.

        Raises:
            TooMany: if there is no room for them.
            NotWritten: if the disk refuses.
        """
        done = await self._write(changes)
        if isinstance(done, TooMany):
            raise done
        return done

    def standing(self, ids: Sequence[str]) -> dict[str, bool]:
        """Of some documents those that were put (true) or deleted (false); the corpus has the word on any other."""
        return {id_: self._there[id_] for id_ in ids if id_ in self._there}

    def document(self, id_: str) -> Document | None:
        """A document that was put; None where it was not, or was deleted since."""
        return self._store.document(id_) if self._there.get(id_) else None

    def close(self) -> None:
        """Close index and store."""
        self.index.close()
        self._store.close()

    def _write_all(self, asked: list[Sequence[Change]]) -> list[Written | TooMany]:
        """Each request's outcome; those that are taken are one transaction."""
        answers: list[Written | TooMany] = []
        taken: list[Change] = []
        there: dict[str, bool] = {}  # after what was taken
        for changes in asked:
            counts, after = self._outcome(changes, there)
            more = sum(put - there.get(id_, self._there.get(id_, False)) for id_, put in after.items())
            live = self._live + more + sum(put - self._there.get(id_, False) for id_, put in there.items())
            if more > 0 and live > self._config.limit:
                remedy = "`catena index` puts them into the index; or raise serve.live_documents."
                answers.append(TooMany(f"{self._config.limit:,} live documents at most", remedy))
                continue
            there |= after
            taken += changes
            answers.append(Written(**counts, live=live, version=self._store.last + len(taken)))
        if taken:
            prepared = self._prepared(taken)
            written = self._store.write(taken)
            self._apply(*prepared)
            self.version = written  # not before: what is answered until now is not the answer of this version
        return answers

    def _outcome(self, changes: Sequence[Change], there: Mapping[str, bool]) -> tuple[dict[str, int], dict[str, bool]]:
        """What changes count as, and which documents are put or deleted after them."""
        counts = {"created": 0, "replaced": 0, "deleted": 0, "unknown": 0}
        after: dict[str, bool] = {}
        for change in changes:
            id_, put = (change, False) if isinstance(change, str) else (change.id, True)
            was = after.get(id_, there.get(id_, self._there.get(id_)))
            if was is None:
                was = self._lookup.has(id_)
            counts[("replaced" if was else "created") if put else ("deleted" if was else "unknown")] += 1
            after[id_] = put
        return counts, after

    def _prepared(self, changes: Sequence[Change]) -> tuple[dict[str, bool], list[IndexedPassage]]:
        """Which documents are put or deleted after changes, and the passages of those that are put."""
        last = {change if isinstance(change, str) else change.id: change for change in changes}
        put = [change for change in last.values() if isinstance(change, PreparedDocument)]
        passages = [passage for document in put for passage in self._passages(document)]
        return {id_: not isinstance(change, str) for id_, change in last.items()}, passages

    def _apply(self, there: Mapping[str, bool], passages: Sequence[IndexedPassage]) -> None:
        """Make changes true of the index."""
        gone = [id_ for id_, put in there.items() if not put]
        if gone:
            self.index.delete(gone)
        if passages:
            self.index.upsert(passages)
        self._live += sum(put - self._there.get(id_, False) for id_, put in there.items())
        self._there.update(there)

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
