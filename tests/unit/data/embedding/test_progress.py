"""Rates of a running embedding job."""

import pytest

from data.embedding.actor import Embedded
from data.embedding.progress import Rates, tracked_partitions
from data.progress import State, shown_by
from data.vectors.table import Partition


def partition(rows: int, tokens: int, started_at: float = 1000.0, seconds: float = 1.0) -> Embedded:
    made = Partition.model_construct(rows=rows, tokens=tokens)
    return Embedded.model_construct(partition=made, started_at=started_at, finished_at=started_at + seconds)


def test_rates_count_this_runs_own_from_the_first_partition_begun() -> None:
    rates = Rates()
    rates.add(partition(100, 3000, started_at=1002.0))
    rates.add(partition(100, 5000, started_at=1000.0, seconds=10.0))
    assert (rates.passages_per_s, rates.tokens_per_s) == (20.0, 800.0)


def test_empty_partitions_have_no_rate() -> None:
    rates = Rates()
    rates.add(partition(0, 0))
    assert rates.passages_per_s == rates.tokens_per_s == 0


def test_partitions_pass_and_are_shown_with_what_an_earlier_run_did() -> None:
    shown: list[State] = []

    class Display:
        def show(self, state: State) -> None:
            shown.append(state)

        def close(self, state: State) -> None:
            shown.append(state)

    with shown_by(Display()):
        assert len(list(tracked_partitions(iter([partition(10, 50), partition(10, 50)]), 40, 20))) == 2
    assert [state.done for state in shown] == [20, 30, 40, 40]
    last = shown[-1]
    assert (last.what, last.total, last.unit) == ("embed", 40, "passages")
    assert last.rate == pytest.approx(20.0) and last.note == "100 tokens/s" and last.left == ""
