"""Passages: offsets that hold, nothing lost, the same every time."""

import time
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.chunking import ChunkConfig, chunk, chunk_text, passage_text
from data.schema import DOCUMENTS, count_rows, partition_name, partitions, passage_id, read_table, write_partition

SMALL = ChunkConfig(max_chars=60, overlap_chars=15)


def uncovered(text: str, spans: list[tuple[int, int]]) -> str:
    """The characters of a text that no passage holds."""
    held = [False] * len(text)
    for start, end in spans:
        held[start:end] = [True] * (end - start)
    return "".join(character for character, is_held in zip(text, held, strict=True) if not is_held)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab .?!\n\t\u05d0\u05c3\u3002\U0001f600"), max_size=600))
def test_passages_hold_everything_within_the_limit(text: str) -> None:
    spans = chunk_text(text, SMALL)
    assert not uncovered(text, spans).strip()
    assert all(0 <= end - start <= 60 for start, end in spans)
    assert spans == sorted(set(spans))
    for (start, end), (following, _) in pairwise(spans):
        assert start < following
        assert end - following <= 15


def test_a_short_text_is_one_passage_and_so_is_an_empty_one() -> None:
    assert chunk_text(" short ", SMALL) == [(0, 7)]
    assert chunk_text("", SMALL) == [(0, 0)]
    assert chunk_text("\n" * 100, SMALL) == [(0, 0)]
    assert chunk_text("long " * 999, ChunkConfig(max_chars=None)) == [(0, 4995)]


def test_cuts_are_made_at_the_best_boundary() -> None:
    config = ChunkConfig(max_chars=50, overlap_chars=0)

    def pieces(text: str) -> list[str]:
        return [text[start:end] for start, end in chunk_text(text, config)]

    assert pieces(f"{'a' * 20}. {'b' * 10}\n\n{'c' * 30}") == [f"{'a' * 20}. {'b' * 10}", "c" * 30]
    assert pieces(f"{'a' * 30}. {'b' * 10} {'c' * 20}") == [f"{'a' * 30}.", f"{'b' * 10} {'c' * 20}"]
    assert pieces(f"{'a' * 30}\n{'b' * 10} {'c' * 20}") == ["a" * 30, f"{'b' * 10} {'c' * 20}"]
    assert pieces("a" * 120) == ["a" * 50, "a" * 50, "a" * 20]
    verse = "\u05d0" * 30 + "\u05c3"  # ends as a Hebrew verse does
    assert pieces(f"{verse} {verse}") == [verse, verse]


def test_the_overlap_begins_at_a_word() -> None:
    text = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    first, second = (text[start:end] for start, end in chunk_text(text, SMALL))
    assert first == "one two three four five six seven eight nine ten eleven"
    assert second == "ten eleven twelve thirteen fourteen"


def test_ten_megabytes_take_time_in_proportion() -> None:
    text = "It was the best of times, it was the worst of times. " * 200_000
    started = time.perf_counter()
    spans = chunk_text(text, ChunkConfig())
    assert time.perf_counter() - started < 20  # quadratic work would take minutes
    assert len(spans) > 10_000
    assert not uncovered(text, spans).strip()


def test_an_overlap_that_leaves_no_way_forward_is_refused() -> None:
    with pytest.raises(ValueError, match="at most a quarter of max_chars"):
        ChunkConfig(max_chars=100, overlap_chars=60)


def test_what_is_embedded() -> None:
    assert passage_text("Title", "text") == "Title\ntext"
    assert passage_text("", "text") == "text"
    assert passage_text("Title", "") == "Title"


def documents(folder: Path, texts: dict[str, str]) -> Path:
    folder.mkdir()
    rows = {"id": list(texts), "title": [f"T {id_}" for id_ in texts], "text": list(texts.values())}
    nothing = [None] * len(texts)
    write_partition(
        pa.table({**rows, "metadata": nothing, "time": nothing}, schema=DOCUMENTS), folder / partition_name(0)
    )
    return folder


def test_partitions_are_full_and_always_the_same(tmp_path: Path) -> None:
    folder = documents(tmp_path / "documents", {f"d{n}": f"word{n} " * 20 for n in range(10)})
    config = ChunkConfig(max_chars=60, overlap_chars=0, partition_rows=7)
    result = chunk(folder, config, tmp_path / "once")
    chunk(folder, config, tmp_path / "again")
    made, again = (partitions(tmp_path / name / "passages") for name in ("once", "again"))
    assert [path.read_bytes() for path in made] == [path.read_bytes() for path in again]
    rows = count_rows(made[0].parent)
    assert result == {
        "documents": 10,
        "passages": rows,
        "partitions": len(made),
        "longest_chars": result["longest_chars"],
    }
    assert len(made) == -(-rows // 7)
    for row in read_table(tmp_path / "once" / "passages").to_pylist():
        text = f"word{row['document_id'][1:]} " * 20
        assert row["text"] == text[row["start"] : row["end"]]
        assert row["id"] == passage_id(row["document_id"], row["start"], row["end"])
        assert row["title"] == f"T {row['document_id']}"


def test_titles_can_be_left_out_but_not_of_a_document_that_has_nothing_else(tmp_path: Path) -> None:
    folder = documents(tmp_path / "documents", {"a": "text", "b": ""})
    chunk(folder, ChunkConfig(with_title=False), tmp_path)
    assert read_table(tmp_path / "passages")["title"].to_pylist() == ["", "T b"]


def test_no_documents_make_one_empty_partition(tmp_path: Path) -> None:
    result = chunk(documents(tmp_path / "documents", {}), ChunkConfig(), tmp_path)
    assert result["passages"] == 0
    assert [path.name for path in partitions(tmp_path / "passages")] == ["part-00000.parquet"]


def test_books_are_cut_whole(data_root: Path) -> None:
    for book in sorted((data_root / "books").glob("*.txt")):
        text = book.read_text(encoding="utf-8-sig")
        spans = chunk_text(text, ChunkConfig())
        assert not uncovered(text, spans).strip()
        lengths = [end - start for start, end in spans]
        assert 600 < sum(lengths) / len(lengths) <= 1000
