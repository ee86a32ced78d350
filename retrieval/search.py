"""Search: a question to passages, by vectors, by words, or by both fused; the same code in batch and online."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from data.encoders.config import EncoderConfig
from data.encoders.protocol import Encoder
from data.encoders.transformer.token_vectors import TokenEncoder
from retrieval.clauses import clause
from retrieval.config import Mode
from retrieval.filters import Filter, parse_filter
from retrieval.fused import Found, FusedIndex
from retrieval.fusion import fusion_of
from retrieval.hits import SearchHit, best_passages
from retrieval.index import IndexMeta, IndexQuery, VectorIndex
from retrieval.open import open_index, read_meta
from retrieval.query import SearchQuery, check_query
from retrieval.question_encoders import check_encoder, query_encoders
from retrieval.steps import FindStep
from retrieval.terms import bm25_of
from retrieval.trail import places_in_lists
from retrieval.weights import Fusion

AT_ONCE = 16  # questions, of hundreds of hits each: many thousands alive make Python's collector look at everything
_FURTHER = 4  # how many times deeper to look when the hits are passages of too few documents


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
        return [one.placed(step, rank, one.score) for rank, one in enumerate(documents, 1)]

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
