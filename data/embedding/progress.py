"""Passages and tokens per second of an embedding job."""

from collections.abc import Iterator

from data.embedding.actor import Embedded
from data.progress import progress


class Rates:
    """Passages and tokens per second of this run.

    They are measured from the start of the first partition to the end of the last one, without the start of the
    workers and the time that Ray Data takes to hand partitions over.
    """

    def __init__(self) -> None:
        self._passages = self._tokens = 0
        self._started_at = float("inf")
        self._finished_at = 0.0

    def add(self, embedded: Embedded) -> None:
        """Count a partition."""
        self._passages += embedded.partition.rows
        self._tokens += embedded.partition.tokens
        self._started_at = min(self._started_at, embedded.started_at)
        self._finished_at = max(self._finished_at, embedded.finished_at)

    @property
    def passages_per_s(self) -> float:
        """Passages embedded per second."""
        return self._passages / max(self._finished_at - self._started_at, 1e-3)

    @property
    def tokens_per_s(self) -> float:
        """Tokens read per second."""
        return self._tokens / max(self._finished_at - self._started_at, 1e-3)


def tracked_partitions(done: Iterator[Embedded], total: int, before: int) -> Iterator[Embedded]:
    """Pass partitions on and show how far the job is.

    Args:
        done: partitions as they are embedded.
        total: passages of the job.
        before: passages that an earlier run embedded.
    """
    rates = Rates()
    with progress("embed", total, "passages", before) as counted:
        for embedded in done:
            rates.add(embedded)
            counted.advance(embedded.partition.rows, rates.passages_per_s, f"{rates.tokens_per_s:,.0f} tokens/s")
            yield embedded
