"""What the embedding actors report to Ray's metrics, and so to its dashboard and to Prometheus."""

SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)  # upper bounds of the histogram of seconds per partition


class EmbedMetrics:
    """Passages, tokens, seconds and padding of one actor.

    Ray puts ``ray_`` before the names and says by its own tags which node and worker a figure is from. Where no Ray
    runs, what is recorded goes nowhere.
    """

    def __init__(self) -> None:
        from ray.util.metrics import Counter, Gauge, Histogram

        self._passages = Counter("catena_embed_passages", "passages embedded")
        self._tokens = Counter("catena_embed_tokens", "tokens read by the encoder, padding apart")
        self._partitions = Histogram(
            "catena_embed_partition_seconds", "seconds from reading a partition to writing it", boundaries=[*SECONDS]
        )
        self._padding = Gauge(
            "catena_embed_padding_share", "share of the computed token positions that were padding, last partition"
        )

    def record(self, passages: int, tokens: int, seconds: float, padding_share: float) -> None:
        """Count one partition."""
        if passages:  # Ray's counters take no zero
            self._passages.inc(passages)
            self._tokens.inc(tokens)
        self._partitions.observe(seconds)
        self._padding.set(padding_share)
