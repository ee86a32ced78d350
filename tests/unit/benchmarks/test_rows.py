"""Rows of the figures tables: bounds, medians, Markdown."""

import time
from pathlib import Path

from benchmarks.rows import Row, markdown, median_ratio, median_seconds, write_markdown

ROW = Row(
    id="embed.speed_ratio",
    what="documents per second",
    value=2.125,
    unit="times",
    at_least=2.0,
    peer="SentenceTransformer.encode: 27/s",
    hardware="2-cores",
    date="2026-11-20",
)


def test_a_bound_is_kept_from_its_own_side() -> None:
    assert ROW.met
    assert not ROW.model_copy(update={"value": 1.9}).met
    at_most = Row(id="m", what="m", value=1.2, unit="times", at_most=1.1, hardware="h", date="2026-11-20")
    assert not at_most.met
    assert at_most.model_copy(update={"value": 1.1}).met
    assert Row(id="m", what="m", value=1.2, unit="s", hardware="h", date="2026-11-20").met


def test_markdown_has_a_line_a_row_under_hardware_and_date() -> None:
    lines = markdown("embed", [ROW, ROW]).splitlines()
    assert lines[0] == "# embed: 2-cores, 2026-11-20"
    assert lines[4] == lines[5]
    assert "| 2.125 times | at least 2 |" in lines[4]
    assert "| yes | SentenceTransformer.encode: 27/s |" in lines[4]


def test_file_is_named_by_hardware_and_month(tmp_path: Path) -> None:
    path = write_markdown("embed", [ROW], folder=tmp_path / "results")
    assert path.name == "embed_2-cores_2026-11.md"
    assert path.read_text() == markdown("embed", [ROW])


def test_warm_up_calls_do_not_count() -> None:
    calls: list[float] = []

    def slow_at_first() -> None:
        time.sleep(0.05 if not calls else 0.0)
        calls.append(0.0)

    assert median_seconds(slow_at_first, repeats=3, warmup=1) < 0.05
    assert len(calls) == 4


def test_ratio_is_peer_over_ours_measured_turn_by_turn() -> None:
    turns: list[str] = []

    def ours() -> None:
        turns.append("ours")

    def peer() -> None:
        turns.append("peer")
        time.sleep(0.01)

    ratio, own, theirs = median_ratio(ours, peer, repeats=2)
    assert turns == ["ours", "peer", "ours", "peer"]
    assert ratio > 1
    assert theirs >= 0.01 > own
