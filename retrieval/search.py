"""Search: a question to passages, by vectors, by words, or by both fused; the same code in batch and online."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from data.cache import CacheConfig
from data.cache.encoder import cached_queries
from data.encoders.chain import load_again
from data.encoders.config import EncoderConfig
from data.encoders.protocol import Encoder
from data.encoders.transformer.token_vectors import TokenEncoder
from data.errors import InputError
from data.lexical import BM25
from data.metadata import Metadata
from data.vectors.projection import Projection, ReducedEncoder
from retrieval.clauses import clause
from retrieval.config import Mode
from retrieval.filters import Filter, parse_filter
from retrieval.fused import Found, FusedIndex
from retrieval.fusion import fusion_of
from retrieval.index import Hit, IndexMeta, IndexQuery, Key, VectorIndex
from retrieval.open import open_index, read_meta
from retrieval.steps import ExpandStep, FindStep
from retrieval.trail import Place, places_in_lists
from retrieval.weights import Fusion

AT_ONCE = 16  # questions, of hundreds of hits each: many thousands alive make Python's collector look at everything
_FURTHER = 4  # how many times deeper to look when the hits are passages of too few documents


@dataclass(frozen=True)
class SearchQuery:
    """One question to the index.

    Attributes:
        text: of it.
        mode: how documents are found.
        top_k: documents wanted.
        filter: what their metadata must be.
        find: which lists, and how they become one; those of the mode where None.
        tokens: mode late: passages that are put in order by their tokens; as deep as the lists where None.
        expand: how links of the best are followed; they are not where None.
        traced: whether hits bring the ranks and scores of their lists.
    """

    text: str
    mode: Mode = "hybrid"
    top_k: int = 10
    filter: Filter = field(default_factory=Filter)
    find: FindStep | None = None
    tokens: int | None = None
    expand: ExpandStep | None = None
    traced: bool = False

    @property
    def lists(self) -> Literal["hybrid", "dense", "bm25"]:
        """The lists that it is answered by."""
        if self.find is not None:
            return self.find.find
        return "hybrid" if self.mode == "late" else self.mode


@dataclass(frozen=True)
class SearchHit:
    """A document that was found, by its best passage; where that one has a parent, text and span are the parent's.

    ``trail`` is where it stood in each step so far, in their order; of the lists where the query is traced.
    """

    document_id: str
    passage_id: str
    title: str
    text: str
    start: int
    end: int
    score: float
    metadata: Metadata
    trail: tuple[Place, ...] = ()


class Expander(Protocol):
    """What follows links."""

    def expand(
        self,
        queries: Sequence[SearchQuery],
        vectors: Sequence[npt.NDArray[np.float32] | None],
        found: Sequence[Sequence[SearchHit]],
    ) -> list[list[SearchHit]]:
        """Documents found for queries that say how, and those that they have links to, best first."""


class Retriever:
    """Asks an index and gathers passages to documents.

    Args:
        index: where the passages are.
        meta: its description: weights, fusion, the keys that can be filtered by.
        encoder: turns questions to vectors; None where another process does, and ``answer`` is given vectors.
        tokens: turns questions to token vectors, where the index holds such.
        expander: follows links; None where no query asks for it.

    Raises:
        InputError: if the index holds vectors of another encoder.
    """

    def __init__(
        self,
        index: VectorIndex,
        meta: IndexMeta,
        encoder: Encoder | None = None,
        tokens: TokenEncoder | None = None,
        expander: Expander | None = None,
    ) -> None:
        if encoder is not None:
            check_encoder(meta, encoder.fingerprint)
        self.index = FusedIndex(index, fusion_of(meta.config, meta.trust))
        self.meta = meta
        self.encoder = encoder
        self._tokens, self.expander = tokens, expander
        self._bm25 = bm25_of(meta)

    @property
    def follows_links(self) -> bool:
        """Whether queries may ask for documents that others have links to."""
        return self.expander is not None

    def search(
        self,
        queries: Sequence[str],
        mode: Mode = "hybrid",
        top_k: int = 10,
        filter: Filter | Mapping[str, Any] | None = None,
    ) -> list[list[SearchHit]]:
        """The best documents of each question, best first, at most ``top_k``.

        Args:
            queries: the questions.
            mode: what to search by.
            top_k: documents wanted of each.
            filter: what their metadata must be; as a mapping in the form of ``retrieval.filters``.

        Raises:
            InputError: if the index cannot answer the filter, or the mode is late and it holds no token vectors.
        """
        must_hold = filter if isinstance(filter, Filter) else parse_filter(filter or {})
        asked = [SearchQuery(text, mode, top_k, must_hold) for text in queries]
        for query in asked:
            check_query(self.meta, query)
        return self.answer(asked, *self.encoded(queries, mode))

    def encoded(
        self, queries: Sequence[str], mode: Mode
    ) -> tuple[Sequence[npt.NDArray[np.float32] | None], Sequence[npt.NDArray[np.float32]] | None]:
        """Vectors of questions and of their tokens, as ``answer`` takes them; each None where the mode has none."""
        if mode == "bm25":
            return [None] * len(queries), None
        if self.encoder is None:
            raise ValueError("this retriever has no encoder: give vectors to `answer`")
        vectors = list(self.encoder.encode_queries(list(queries)))
        if mode != "late" or self._tokens is None:
            return vectors, None
        return vectors, self._tokens.encode_queries(list(queries)).each()

    def answer(
        self,
        queries: Sequence[SearchQuery],
        vectors: Sequence[npt.NDArray[np.float32] | None],
        tokens: Sequence[npt.NDArray[np.float32] | None] | None = None,
        ask: Callable[[Sequence[IndexQuery]], list[Found]] | None = None,
    ) -> list[list[SearchHit]]:
        """The best documents of each query, in batches to the index, and others for those that must look deeper.

        Args:
            queries: what is asked.
            vectors: each query's vector, float32 of shape (``meta.question_dim``,); None where the mode is bm25.
            tokens: each query's token vectors, float32 of shape (tokens, late_dim); None where the mode is not late.
            ask: takes the place of the index's ``found``.

        Raises:
            InputError: if a filter names a key that the index cannot filter by, or a mode is late and the index holds
                no token vectors.
        """
        for query in queries:
            check_query(self.meta, query)
        late = [None] * len(queries) if tokens is None else tokens
        ask = ask or self.index.found
        answers: list[list[SearchHit]] = []
        for start in range(0, len(queries), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            answers += self._answers(queries[some], vectors[some], late[some], ask)
        return self._expanded(queries, vectors, answers)

    def _answers(
        self,
        queries: Sequence[SearchQuery],
        vectors: Sequence[npt.NDArray[np.float32] | None],
        late: Sequence[npt.NDArray[np.float32] | None],
        ask: Callable[[Sequence[IndexQuery]], list[Found]],
    ) -> list[list[SearchHit]]:
        """What the index has for queries that it is asked at once, before links are followed."""
        answers: list[list[SearchHit]] = [[] for _ in queries]
        limits = {i: query.top_k + query.top_k // 2 + 10 for i, query in enumerate(queries)}
        depth = self.meta.config.prefetch
        while limits:
            drawn = {i: self.question(queries[i], vectors[i], late[i], limit, depth) for i, limit in limits.items()}
            asked = {i: question for i, question in drawn.items() if question is not None}
            answered = ask(list(asked.values())) if asked else []
            limits, depth = {}, depth * _FURTHER
            for (i, question), found in zip(asked.items(), answered, strict=True):
                answers[i] = self._documents(queries[i], question, found)
                if len(answers[i]) < queries[i].top_k and self._more_below(question, len(found.hits)):
                    limits[i] = question.limit * _FURTHER
        return answers

    def _documents(self, query: SearchQuery, question: IndexQuery, found: Found) -> list[SearchHit]:
        if not query.traced:
            return best_passages(found.hits, query.top_k)
        of_lists = places_in_lists(question, found, question.fusion or self.index.fusion)
        step = "tokens" if query.mode == "late" else query.lists
        documents = best_passages(found.hits, query.top_k, of_lists)
        return [replace(one, trail=(*one.trail, Place(step, rank, one.score))) for rank, one in enumerate(documents, 1)]

    def _expanded(
        self,
        queries: Sequence[SearchQuery],
        vectors: Sequence[npt.NDArray[np.float32] | None],
        answers: list[list[SearchHit]],
    ) -> list[list[SearchHit]]:
        asking = [i for i, query in enumerate(queries) if query.expand is not None]
        if asking:
            assert self.expander is not None, "pipelines that follow links are refused without"
            further = self.expander.expand(
                [queries[i] for i in asking], [vectors[i] for i in asking], [answers[i] for i in asking]
            )
            for i, hits in zip(asking, further, strict=True):
                answers[i] = hits
        return answers

    def question(
        self,
        query: SearchQuery,
        vector: npt.NDArray[np.float32] | None,
        tokens: npt.NDArray[np.float32] | None,
        limit: int,
        depth: int,
    ) -> IndexQuery | None:
        """The query as the index takes it; None where it has nothing to search by."""
        lists, late = query.lists, query.mode == "late"
        sparse = None if lists == "dense" else self._bm25.query(query.text)
        if sparse is not None and len(sparse.indices) == 0:
            sparse = None
        dense = None if lists == "bm25" else vector
        if lists != "bm25" and (dense is None or dense.shape != (self.meta.question_dim,)):
            raise ValueError(f"mode {query.mode} needs a vector of {self.meta.question_dim} dimensions")
        if late and (tokens is None or tokens.ndim != 2 or tokens.shape[1] != self.meta.late_dim):
            raise ValueError(f"mode late needs token vectors of {self.meta.late_dim} dimensions")
        if sparse is None and dense is None:
            return None
        return IndexQuery(
            limit,
            dense,
            sparse,
            fused=lists == "hybrid" or late,
            prefetch=max(depth, query.top_k, 0 if query.find is None else query.find.depth),
            tokens=tokens if late else None,
            rescored=query.tokens,
            fusion=self._fusion(query.find),
            filter=clause(query.filter, self.meta.filter_keys),
        )

    def _fusion(self, find: FindStep | None) -> Fusion | None:
        """What a query fuses by; None where it is as the index has it."""
        if find is None or (find.weights is None and find.fusion is None):
            return None
        own = self.index.fusion
        return Fusion.scaled(find.fusion or own.method, find.weights or own.weights, own.k)

    def _more_below(self, question: IndexQuery, found: int) -> bool:
        """Whether the index may hold hits that the question's limits cut off."""
        if question.rescored is not None:  # others are left out
            return False
        cut = min(question.limit, question.prefetch) if question.fused else question.limit
        return found >= cut and cut < self.index.count()


def best_passages(
    hits: Iterable[Hit], wanted: int | None = None, places: Mapping[Key, Sequence[Place]] = MappingProxyType({})
) -> list[SearchHit]:
    """Each document once, by its best passage, in the order of the hits.

    Args:
        hits: passages.
        wanted: documents at most; all where None.
        places: of them in lists, by their keys.
    """
    best: dict[str, Hit] = {}
    for hit in hits:
        if wanted is not None and len(best) >= wanted:
            break
        best.setdefault(hit.payload["document_id"], hit)
    return [_shown(hit, places.get(hit.key, ())) for hit in best.values()]


def _shown(hit: Hit, places: Sequence[Place]) -> SearchHit:
    """A passage as an answer has it: in the place of one that has a parent, the parent."""
    stored = hit.payload
    parent: Mapping[str, Any] | None = stored.get("parent")
    stretch = stored if parent is None else parent
    return SearchHit(
        document_id=stored["document_id"],
        passage_id=stored["passage_id"] if parent is None else parent["id"],
        title=stored["title"],
        text=stretch["text"],
        start=stretch["start"],
        end=stretch["end"],
        score=hit.score,
        metadata=stored["metadata"],
        trail=tuple(places),
    )


def check_query(meta: IndexMeta, query: SearchQuery) -> None:
    """Refuse what this index cannot answer.

    Raises:
        InputError: if no results are wanted, it cannot answer the filter, or the mode is late and it holds no token
            vectors.
    """
    if query.top_k < 1:
        raise InputError(f"top_k {query.top_k}: at least 1 result must be wanted", "Give a top_k of 1 or more.")
    clause(query.filter, meta.filter_keys)
    if query.mode == "late" and meta.late_dim is None:
        raise InputError(
            "mode late: the index holds no token vectors", "Add `late: {}` to the run file and index again."
        )


def check_encoder(meta: IndexMeta, fingerprint: str) -> None:
    """Refuse to ask an index with vectors of another encoder: their numbers have nothing to do with each other.

    Raises:
        InputError: if the fingerprints differ.
    """
    if meta.question_encoder != fingerprint:
        raise InputError(
            f"the index was built by another encoder: {meta.question_encoder}, this is {fingerprint}",
            "Use the encoder that built it, or embed and index again.",
        )


def bm25_of(meta: IndexMeta) -> BM25:
    """Weights of terms as the index has them, but for the inverse document frequency, which it multiplies in itself."""
    return BM25(meta.config.tokenizer(), meta.mean_length, meta.config.k1, meta.config.b)


class QueryEncoders(NamedTuple):
    """What turns the questions to an index to vectors, and to those of their tokens where the index holds such.

    ``loaded`` is the encoder itself, without cache, guard and what its vectors are reduced by.
    """

    whole: Encoder
    tokens: TokenEncoder | None
    loaded: Encoder


def query_encoders(
    meta: IndexMeta,
    config: EncoderConfig,
    cache: CacheConfig | None = None,
    guard: Callable[[Encoder], Encoder] = lambda encoder: encoder,
) -> QueryEncoders:
    """Load the encoder for an index's questions, in the precision of its vectors where the config leaves the choice.

    Where the vectors were reduced, its questions are too; unless hits are rescored, where the index reduces them.

    A precision chosen by measurement may differ on another day and would then not fit the index. Of a chain, only the
    encoder that built the index is loaded: where that one is unavailable, questions have no vectors.

    Args:
        meta: describes the index.
        config: which encoder.
        cache: where questions are looked for before they are encoded, but for the vectors of their tokens; None
            computes each of them.
        guard: wraps the encoder behind the cache, such as a breaker does; nothing by default.

    Raises:
        InputError: if another encoder built the index, or the cache's Redis refuses.
        EncoderUnavailable: if the one that built it is unavailable now.
    """
    projection = None if meta.projection is None else Projection.load(meta.projection)
    made_by = meta.encoder if projection is None else projection.encoder
    loaded = load_again(config, made_by, meta.precision, meta.link)
    encoder = loaded if projection is None or meta.full_dim is not None else ReducedEncoder(loaded, projection)
    check_encoder(meta, encoder.fingerprint)
    tokens = None
    if meta.token_projection is not None:
        tokens = TokenEncoder(loaded, projection=Projection.load(meta.token_projection))
    guarded = guard(encoder)
    return QueryEncoders(cached_queries(guarded, cache) if cache else guarded, tokens, loaded)


def open_retriever(artifact: Path, encoder: EncoderConfig | None) -> Retriever:
    """Open an index artifact with an encoder in this process; without one it searches by words only.

    Raises:
        InputError: if there is no finished index, or another encoder built it.
    """
    meta = read_meta(artifact)
    if encoder is None:
        return Retriever(open_index(artifact), meta)
    whole, tokens, _ = query_encoders(meta, encoder)
    return Retriever(open_index(artifact), meta, whole, tokens)
