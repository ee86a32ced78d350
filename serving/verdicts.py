"""What came of asking each release, and whether a canary or a shadow must be stopped."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from serving.traffic import MOST_JUDGED, Guardrails, Traffic

JUDGEMENTS = 10  # while as many answers come as a release is judged by: percentiles of them cost as much as a search

Work = Literal["search", "links", "rank", "bundles"]


@dataclass
class _Seen:
    """The most recent answers of a release: whether each failed, and how long it took."""

    unjudged: int = 0  # answers and comparisons since it was judged
    failed: deque[bool] = field(default_factory=lambda: deque(maxlen=MOST_JUDGED))
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_JUDGED))
    overlaps: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_JUDGED))

    def slow_s(self, last: int) -> float:
        """95th percentile of seconds."""
        return float(np.percentile(list(self.seconds)[-last:], 95))


class ReleaseMetrics(Protocol):
    """Counts what releases do, as ``sight.Metrics`` does."""

    def release_answered(self, release: str, failed: bool, seconds: float) -> None:
        """One answer."""

    def shadow_compared(self, release: str, overlap: float, tau: float) -> None:
        """One comparison."""


class Verdicts:
    """Judges canary and shadow by their guardrails, and has them stopped.

    Args:
        traffic: as it is now.
        stop: called with why, once for each that must be stopped.
        metrics: that count too.
    """

    def __init__(
        self, traffic: Callable[[], Traffic], stop: Callable[[str, str], None], metrics: ReleaseMetrics
    ) -> None:
        self._traffic, self._stop, self._metrics = traffic, stop, metrics
        self._seen: dict[tuple[str, Work], _Seen] = {}
        self._stopped: set[tuple[int, str]] = set()

    def answered(self, release: str, failed: bool, seconds: float, work: Work = "search") -> None:
        """A release answered, or failed to; searches and scores of links are judged by themselves."""
        seen = self._of(release, work)
        seen.failed.append(failed)
        if not failed:
            seen.seconds.append(seconds)
        if work == "search":
            self._metrics.release_answered(release, failed, seconds)
        self._judge(release, work)

    def compared(self, release: str, overlap: float, tau: float) -> None:
        """A shadow's answer was compared with the live one's.

        Args:
            release: the shadow.
            overlap: share of the live one's documents that it found too.
            tau: Kendall's rank correlation of those that both found.
        """
        self._of(release, "search").overlaps.append(overlap)
        self._metrics.shadow_compared(release, overlap, tau)
        self._judge(release, "search")

    def _of(self, release: str, work: Work) -> _Seen:
        return self._seen.setdefault((release, work), _Seen())

    def _judge(self, release: str, work: Work) -> None:
        traffic = self._traffic()
        for part in (traffic.canary, traffic.shadow):
            if part is None or part.release != release or (traffic.number, release) in self._stopped:
                continue
            seen = self._of(release, work)
            seen.unjudged += 1
            if seen.unjudged < part.guardrails.after / JUDGEMENTS:
                continue
            seen.unjudged = 0
            reason = broken(part.guardrails, seen, self._of(traffic.live, work))
            if reason:
                self._stopped.add((traffic.number, release))
                self._stop(release, reason if work == "search" else f"{work}: {reason}")


def broken(rails: Guardrails, seen: _Seen, live: _Seen) -> str:
    """Which guardrail a release has broken, in words; empty where none."""
    last = rails.after
    if len(seen.failed) >= last:
        share = sum(list(seen.failed)[-last:]) / last
        if share > rails.errors:
            return f"{share:.1%} of its last {last} answers were failures; at most {rails.errors:.1%} may be"
    if len(seen.seconds) >= last and len(live.seconds) >= last:
        own, theirs = seen.slow_s(last), live.slow_s(last)
        if own > rails.slower * theirs:
            return (
                f"its 95th percentile of latency was {1000 * own:.0f} ms, that of the live release "
                f"{1000 * theirs:.0f} ms; at most {rails.slower:g} times as much is allowed"
            )
    if len(seen.overlaps) >= last:
        overlap = sum(list(seen.overlaps)[-last:]) / last
        if overlap < rails.overlap:
            return f"it found {overlap:.0%} of the live release's documents; at least {rails.overlap:.0%} are asked"
    return ""
