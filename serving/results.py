"""What the index found, as it is answered: results, their reasons, and where the time went."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from data.labels import label
from retrieval.boosted import Effect
from retrieval.config import Mode
from retrieval.explain import reasons
from retrieval.hits import SearchHit
from retrieval.matched import MatchedWord
from serving.schemas import Explanation, SearchResult, Timing


@dataclass(frozen=True)
class Found:
    """Documents, best first, and how they were found.

    Attributes:
        results: as they are answered.
        mode: that found them.
        reranked: whether later steps put them in order.
        timing_ms: of the phases.
    """

    results: list[SearchResult]
    mode: Mode
    reranked: bool
    timing_ms: Timing


def result_of(
    hit: SearchHit, words: Sequence[MatchedWord] | None = None, effects: Sequence[Effect] = ()
) -> SearchResult:
    """A document as it is answered.

    Args:
        hit: the document.
        words: of the question, that it has; None where nobody asked why it was found.
        effects: of its features on the score of boosted trees.
    """
    told = None if words is None else Explanation.model_validate(reasons(hit, words, effects))
    named = {**vars(hit), "title": label(hit.document_id, hit.title)}
    return SearchResult(**{name: named[name] for name in named if name != "trail"}, explanation=told)


def size_of(results: Sequence[SearchResult]) -> int:
    """About how many bytes an answer takes in memory."""
    return 500 + sum(2000 + 2 * len(one.text) + 4 * len(str(one.metadata)) for one in results)


class Clock:
    """Adds up the times of the phases of an answer."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._spent: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count the time of a block."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._spent[name] += time.perf_counter() - started

    def timing(self) -> Timing:
        """Milliseconds until now."""
        spent = {**self._spent, "total": time.perf_counter() - self._started}
        return Timing(**{name: round(1000 * spent.get(name, 0.0), 2) for name in Timing.model_fields})
