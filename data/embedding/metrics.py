"""Metrics of the embedding workers, for Ray's dashboard and Prometheus."""

from typing import Any

from data.measuring import Reporting

SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)  # upper bounds of the histogram of seconds per partition


class EmbedMetrics:
    """Passages, tokens, seconds and padding of one actor.

    Ray puts ``ray_`` before the names and adds tags for node and worker. Without Ray nothing is recorded. A metric that
    fails is logged once and never ends the embedding.
    """

    def __init__(self) -> None:
        self._reporting = Reporting("metrics of the embedding")
        self._metrics: dict[str, Any] = {}
        with self._reporting.guard():
            self._metrics = _open_metrics()

    def record(self, passages: int, tokens: int, seconds: float, padding_share: float) -> None:
        """Count one partition; any of the figures may be 0."""
        if not self._metrics:
            return
        with self._reporting.guard():
            for name, count in (("passages", passages), ("tokens", tokens)):
                if count > 0:  # Ray's counters raise ValueError for 0
                    self._metrics[name].inc(count)
            self._metrics["seconds"].observe(max(0.0, seconds))  # a clock that was set back
            self._metrics["padding"].set(padding_share)


def _open_metrics() -> dict[str, Any]:
    from ray.util.metrics import Counter, Gauge, Histogram

    return {
        "passages": Counter("catena_embed_passages", "passages embedded"),
        "tokens": Counter("catena_embed_tokens", "tokens read by the encoder, padding apart"),
        "seconds": Histogram(
            "catena_embed_partition_seconds", "seconds from reading a partition to writing it", boundaries=[*SECONDS]
        ),
        "padding": Gauge(
            "catena_embed_padding_share", "share of the computed token positions that were padding, last partition"
        ),
    }
