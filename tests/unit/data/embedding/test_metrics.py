"""What measures an embedding never ends it."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from data.embedding.actor import Embedded, EmbedPartition
from data.embedding.metrics import EmbedMetrics
from data.embedding.progress import tracked_partitions
from data.measuring import Reporting
from data.partitions import partition_name, write_partition
from data.vectors.table import describe
from tests.endpoint_server import counting, serving


@pytest.mark.parametrize(
    ("passages", "tokens", "seconds", "padding"), [(0, 0, 0.0, 0.0), (3, 0, 0.1, 0.0), (0, 5, -1.0, float("nan"))]
)
def test_any_figure_may_be_zero(
    passages: int, tokens: int, seconds: float, padding: float, caplog: pytest.LogCaptureFixture
) -> None:
    EmbedMetrics().record(passages, tokens, seconds, padding)
    assert not caplog.records


def test_a_metric_that_fails_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    metrics = EmbedMetrics()
    with caplog.at_level(logging.INFO, "catena"):
        for _ in range(3):
            metrics.record(1, 1, "soon", 0.0)  # type: ignore[arg-type]
    (line,) = caplog.messages
    assert line.startswith("metrics of the embedding cannot be reported: TypeError")


def failing() -> Iterator[Embedded]:
    yield 1 // 0  # type: ignore[misc]


def test_only_reports_are_guarded_and_not_the_work() -> None:
    with pytest.raises(KeyboardInterrupt), Reporting("anything").guard():
        raise KeyboardInterrupt
    with pytest.raises(ZeroDivisionError):
        list(tracked_partitions(failing(), 1, 0))


@pytest.mark.parametrize("usage", [{"prompt_tokens": 0}, {"prompt_tokens": None}, {"prompt_tokens": -4}, {}, None, "7"])
def test_a_partition_whose_server_counts_no_tokens_is_embedded_and_words_are_counted(
    usage: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    passages = tmp_path / partition_name(0)
    texts = ["rain in spring", "a dry summer's end"]
    same = {name: [""] * 2 for name in ("id", "document_id", "title")}
    write_partition(pa.table({**same, "text": texts}), passages)
    (tmp_path / "vectors").mkdir()
    with serving() as server:
        server.always = counting(usage)
        made = EmbedPartition(server.config(), 1000, 1, tmp_path / "vectors")(passages)
    assert made.partition.rows == 2 and made.partition.tokens == 3 + 4
    assert describe(tmp_path / "vectors" / passages.name) == made.partition
    assert "reported" not in caplog.text
