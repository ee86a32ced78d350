"""What is told of a running job."""

import io
import sys
from collections.abc import Iterator

import pytest

from data.embedding import progress as embed_progress
from data.embedding.actor import Embedded
from data.embedding.progress import Rates, duration, watched
from data.vectors.table import Partition


def partition(rows: int, tokens: int, started_at: float = 1000.0, seconds: float = 1.0) -> Embedded:
    made = Partition.model_construct(rows=rows, tokens=tokens)
    return Embedded.model_construct(partition=made, started_at=started_at, finished_at=started_at + seconds)


def test_rates_count_this_runs_own_from_the_first_partition_begun() -> None:
    rates = Rates(total=1000, before=400)
    rates.add(partition(100, 3000, started_at=1002.0))
    rates.add(partition(100, 5000, started_at=1000.0, seconds=10.0))
    assert rates.told(now=1010.0) == "20 passages/s, 800 tokens/s, 20 s left"
    assert rates.told(now=1015.0) == "20 passages/s, 800 tokens/s, 15 s left"  # others are at work meanwhile
    assert rates.told(now=1100.0).endswith("0 s left")


def test_empty_partitions_have_no_time_left() -> None:
    rates = Rates(total=0, before=0)
    rates.add(partition(0, 0))
    assert rates.told(now=1010.0) == "0 passages/s, 0 tokens/s"


@pytest.mark.parametrize(
    ("seconds", "said"), [(45, "45 s"), (600, "10 min"), (12_000, "3 h 20 min"), (89.9, "90 s"), (91, "2 min")]
)
def test_duration(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_bar_where_somebody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", terminal)
    assert len(list(watched(iter([partition(10, 50), partition(10, 50)]), Rates(20, 0)))) == 2
    shown = terminal.getvalue()
    assert "embed: 100%" in shown and "20/20 passages" in shown
    assert "passages/s" in shown and "tokens/s" in shown and "0 s left" in shown


def test_a_line_now_and_then_where_nobody_does(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def late() -> Iterator[Embedded]:
        yield partition(10, 50)
        monkeypatch.setattr(embed_progress, "LINE_EVERY_S", 0.0)
        yield partition(10, 50)

    with caplog.at_level("INFO", "catena"):
        list(watched(late(), Rates(40, 0)))
    (line,) = caplog.messages
    assert line.startswith("embed: 20 of 40 passages, ") and line.endswith(" left")
