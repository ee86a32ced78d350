"""How far an embedding job has come, for whoever watches: a bar on a terminal, a line now and then in a log."""

import logging
import time
from collections.abc import Iterator

from data.embedding.actor import Embedded
from data.measuring import Reporting

logger = logging.getLogger("catena")

LINE_EVERY_S = 30.0


class Rates:
    """Passages and tokens per second of this run, and the time that the rest will take.

    They count from the first partition begun to the last one ended, so that neither the start of the actors slows them
    nor the time that Ray Data takes to hand a partition over.

    Args:
        total: passages of the job.
        before: those that an earlier run did.
    """

    def __init__(self, total: int, before: int) -> None:
        self.total = total
        self.done = before
        self._before = before
        self._tokens = 0
        self._started_at = float("inf")
        self._finished_at = 0.0

    def add(self, embedded: Embedded) -> None:
        """Count a partition."""
        self.done += embedded.partition.rows
        self._tokens += embedded.partition.tokens
        self._started_at = min(self._started_at, embedded.started_at)
        self._finished_at = max(self._finished_at, embedded.finished_at)

    def told(self, now: float) -> str:
        """The figures in words, at a moment in seconds since the epoch."""
        seconds = max(self._finished_at - self._started_at, 1e-3)
        passages_per_s = (self.done - self._before) / seconds
        left = ""
        if passages_per_s:
            waited = now - self._finished_at
            left = f", {duration(max(0.0, (self.total - self.done) / passages_per_s - waited))} left"
        return f"{passages_per_s:,.0f} passages/s, {self._tokens / seconds:,.0f} tokens/s{left}"


def duration(seconds: float) -> str:
    """Seconds as people say them: 45 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def watched(done: Iterator[Embedded], rates: Rates) -> Iterator[Embedded]:
    """Pass partitions on; a bar on standard error shows them, or a line in the log every half minute.

    What cannot be shown, on a terminal that is gone for example, is logged once and does not end the job.
    """
    from tqdm import tqdm

    form = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} passages, {postfix}"
    bar = tqdm(total=rates.total, initial=rates.done, desc="embed", postfix="starting", bar_format=form, disable=None)
    reporting = Reporting("progress of the embedding")
    told_at = time.time()
    try:
        for embedded in done:
            with reporting.guard():
                rates.add(embedded)
                now = time.time()
                bar.set_postfix_str(rates.told(now), refresh=False)
                bar.update(embedded.partition.rows)
                if bar.disable and now - told_at >= LINE_EVERY_S:
                    logger.info("embed: %s of %s passages, %s", f"{rates.done:,}", f"{rates.total:,}", rates.told(now))
                    told_at = now
            yield embedded
    finally:
        with reporting.guard():
            bar.close()
