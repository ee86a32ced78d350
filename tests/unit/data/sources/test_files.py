"""Files with mapped columns: what is read of them, and what is rejected, with its place."""

import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.errors import InputError
from data.sources import SourceConfig, read_tasks
from data.sources.ingest import check_mapping
from data.sources.landing import land
from data.sources.rows import Document, Link, Qrel, Query, Reject

Found = list[tuple[str, Any]]


def read(**tables: object) -> Found:
    """Everything the source yields, each with its place."""
    tasks = read_tasks(SourceConfig.model_validate({"files": tables}))
    return [(f"{task.unit} {position}", row) for task in tasks for position, row in task.read()]


def rejects(found: Found) -> dict[str, str]:
    return {place: row.reason for place, row in found if isinstance(row, Reject)}


def write(path: Path, content: str | bytes) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def test_json_lines_keep_what_is_not_mapped_as_metadata(tmp_path: Path) -> None:
    line = (
        '{"key": 7, "name": "Seven", "body": "text", "year": 1999, "tags": ["a"], "none": null, "more": {"kind": "x"}}'
    )
    path = write(tmp_path / "d.jsonl", f"\ufeff{line}\n\n")
    documents = {"path": path, "id": "key", "title": "name", "text": "body"}
    metadata = {"year": 1999, "tags": ["a"], "more": {"kind": "x"}}
    assert read(documents=documents) == [("line 1", Document("7", "Seven", "text", metadata))]
    (_, only_year) = read(documents={**documents, "metadata": ["year"]})[0]
    assert only_year.metadata == {"year": 1999}


def test_gzip_is_told_by_its_content(tmp_path: Path) -> None:
    packed = gzip.compress(b'{"id": "a", "text": "one"}\n{"id": "b", "text": "two"}\n')
    for name in ("d.jsonl.gz", "d.jsonl"):
        found = read(documents={"path": write(tmp_path / name, packed)})
        assert [(place, row.id) for place, row in found] == [("line 1", "a"), ("line 2", "b")]


def test_a_damaged_gzip_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl.gz", gzip.compress(b'{"id": "a", "text": "one"}\n' * 999)[:-20])
    with pytest.raises(InputError, match="damaged gzip after line"):
        read(documents={"path": path})


def test_broken_lines_are_rejected_with_their_place_and_the_rest_is_read(tmp_path: Path) -> None:
    good = b'{"id": "a", "text": "one"}\n'
    lines = [
        good,
        b'{"id": "b", "text": \n',
        b'{"id": "c", "text": "\xff"}\n',
        b"[1, 2]\n",
        b'{"id": "", "text": "no id"}\n',
        b'{"text": "no id"}\n',
        b'{"id": "d", "text": ["no", "text"]}\n',
        b'{"id": "e", "title": " ", "text": "  "}\n',
        b'{"id": "f", "text": "\\ud800"}\n',
        b'{"id": "g", "title": "a title is enough", "text": ""}\n',
        b"[" * 100_000 + b"\n",
    ]
    found = read(documents={"path": write(tmp_path / "d.jsonl", b"".join(lines))})
    assert [row.id for _, row in found if isinstance(row, Document)] == ["a", "g"]
    reasons = rejects(found)
    assert reasons.pop("line 2").startswith("not JSON: Expecting value")
    assert reasons.pop("line 3") == f"not UTF-8 at byte {len(lines[0] + lines[1]) + lines[2].index(bytes([255]))}"
    assert reasons.pop("line 11").startswith("not JSON")
    assert reasons == {
        "line 4": "not a JSON object: list",
        "line 5": "'id' is empty",
        "line 6": "'id' is missing",
        "line 7": "'text' is not a text: list",
        "line 8": "empty text",
        "line 9": "'text' is not valid Unicode",
    }


def test_a_document_of_ten_megabytes(tmp_path: Path) -> None:
    text = "word " * 2_000_000
    ((_, document),) = read(documents={"path": write(tmp_path / "d.csv", f'id,text\na,"{text}"\n')})
    assert document.text == text


@pytest.mark.parametrize(
    ("name", "content"),
    [("d.csv", "key,body\na,b\n"), ("d.tsv", "key\tbody\na\tb\n")],
)
def test_a_missing_column_names_those_that_are_there(tmp_path: Path, name: str, content: str) -> None:
    with pytest.raises(InputError, match=r"'id'.*'key', 'body'"):
        read(documents={"path": write(tmp_path / name, content)})


def test_a_missing_column_of_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "body": ["b"]}), tmp_path / "d.parquet")
    with pytest.raises(InputError, match=r"no column 'text'; the columns are 'id', 'body'"):
        read(documents={"path": str(tmp_path / "d.parquet")})


def test_a_column_that_the_run_names_has_to_be_there(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", "id,text\na,b\n")
    assert [row for _, row in read(documents={"path": path})] == [Document("a", "", "b")]
    with pytest.raises(InputError, match="no column 'titel'"):
        read(documents={"path": path, "title": "titel"})


def test_csv_is_quoted_and_tsv_is_not(tmp_path: Path) -> None:
    quoted = write(tmp_path / "d.csv", 'id,text\na,"one\ntwo, ""three"""\nb,four\n')
    assert [(place, row.text) for place, row in read(documents={"path": quoted})] == [
        ("line 2", 'one\ntwo, "three"'),
        ("line 4", "four"),
    ]
    plain = write(tmp_path / "d.tsv", 'id\ttext\na\t"one\nb\ttwo\n')
    assert [row.text for _, row in read(documents={"path": plain})] == ['"one', "two"]


def test_lines_with_too_few_fields_or_bad_bytes_keep_the_count_of_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "d.tsv", b"id\ttext\na\tone\nb\n\xff\t\xff\nc\tthree\n")
    found = read(documents={"path": path})
    assert [place for place, row in found if isinstance(row, Document)] == ["line 2", "line 5"]
    assert rejects(found) == {"line 3": "1 fields, 2 expected", "line 4": "not UTF-8 at byte 16"}


def test_links_with_mapped_columns(tmp_path: Path) -> None:
    documents = {"path": write(tmp_path / "d.jsonl", '{"id": "a", "text": "one"}\n')}
    content = "von,nach,art,gewicht,am\n"
    content += "a,b,cites,2.5,2024-01-01T00:00:00+02:00\na,b,cites,viel,\na,b,cites,nan,\na,b,cites,1,x\n"
    links = {
        "path": write(tmp_path / "l.csv", content),
        "source": "von", "target": "nach", "relation": "art", "weight": "gewicht", "time": "am",
    }  # fmt: skip
    _, (place, link), *_ = found = read(documents=documents, links=links)
    assert (place, link) == ("line 2", Link("a", "b", "cites", 2.5, datetime(2023, 12, 31, 22, tzinfo=UTC)))
    assert rejects(found) == {
        "line 3": "'gewicht' is not a number: 'viel'",
        "line 4": "'gewicht' is null",
        "line 5": "'am' is not a time: 'x'",
    }


def test_links_with_a_split_of_their_own(tmp_path: Path) -> None:
    documents = {"path": write(tmp_path / "d.jsonl", '{"id": "a", "text": "one"}\n')}
    content = "source,target,part\na,b,test\na,c,\na,d,dev\n"
    _, *found = read(documents=documents, links={"path": write(tmp_path / "l.csv", content), "split": "part"})
    assert [row.split for _, row in found if isinstance(row, Link)] == ["test", None]
    assert rejects(found) == {"line 4": "'part' is not train, valid or test: 'dev'"}


def test_parquet_is_read_by_row_group_with_rows_counted_over_the_file(tmp_path: Path) -> None:
    table = pa.table({"id": [f"d{n}" for n in range(10)], "text": ["text"] * 9 + [None], "extra": list(range(10))})
    pq.write_table(table, tmp_path / "d.parquet", row_group_size=4)
    config = SourceConfig.model_validate({"files": {"documents": {"path": str(tmp_path / "d.parquet")}}})
    assert len(read_tasks(config)) == 3
    found = read(documents={"path": str(tmp_path / "d.parquet")})
    assert [place for place, _ in found] == [f"row {n}" for n in range(1, 11)]
    assert rejects(found) == {"row 10": "'text' is null"}
    assert found[4][1].metadata == {"extra": 4}


def test_queries_and_judgments(tmp_path: Path) -> None:
    found = read(
        documents={"path": write(tmp_path / "d.jsonl", '{"id": "a", "text": "one"}\n')},
        queries={"path": write(tmp_path / "q.csv", "id,text\nq,what?\n")},
        qrels={"path": write(tmp_path / "r.csv", "query_id,document_id,score\nq,a,2\nq,a,x\n")},
    )
    assert [row for _, row in found][1:3] == [Query("q", "what?"), Qrel("q", "a", 2)]
    assert rejects(found) == {"line 3": "'score' is not a number: 'x'"}


def test_an_unknown_ending_asks_for_the_format(tmp_path: Path) -> None:
    path = write(tmp_path / "d.data", "id,text\na,b\n")
    with pytest.raises(InputError, match="cannot tell the format"):
        read(documents={"path": path})
    assert len(read(documents={"path": path, "format": "csv"})) == 1


def test_what_is_no_parquet_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"d\.parquet: not a Parquet file"):
        read(documents={"path": write(tmp_path / "d.parquet", "id,text\n")})


def land_all(folder: Path, **tables: object) -> list[dict[str, Any]]:
    """The counts of every task of a source, its rows written under a folder."""
    tasks = read_tasks(SourceConfig.model_validate({"files": tables}))
    return [land(task, number, folder, strict=False) for number, task in enumerate(tasks)]


def test_json_lines_without_a_needed_field_in_any_record_are_a_wrong_mapping(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", '{"key": "a", "body": "b"}\n' * 3)
    counts = land_all(tmp_path / "wrong", documents={"path": path})
    with pytest.raises(InputError, match=r"no documents: 3 records lack .*line 1: 'id' is missing in \{\"key\": \"a\""):
        check_mapping(counts)
    write(tmp_path / "s0.jsonl", '{"text": "no id"}\n')
    write(tmp_path / "s1.jsonl", '{"id": 1, "text": "b"}\n')
    counts = land_all(tmp_path / "right", documents={"path": str(tmp_path / "s*.jsonl")})
    check_mapping(counts)  # one shard of bad records is no claim about the corpus
    assert [(of_task["documents"], of_task["rejects"]) for of_task in counts] == [(0, 1), (1, 0)]


@pytest.mark.parametrize("text", ["null", "NaN", '""', None])
def test_a_title_alone_is_enough_wherever_the_text_is_missing(tmp_path: Path, text: str | None) -> None:
    no_text = "" if text is None else f', "text": {text}'
    lines = [f'{{"id": {n}, "title": "title {n}"{no_text}}}\n' for n in range(150)]
    path = write(
        tmp_path / "d.jsonl", "".join([*lines, '{"id": "last", "text": "one"}\n', f'{{"id": "x"{no_text}}}\n'])
    )
    found = read(documents={"path": path})
    assert len([row for _, row in found if isinstance(row, Document)]) == 151
    assert found[0][1] == Document("0", "title 0", "")
    assert list(rejects(found)) == ["line 152"]


def test_a_table_of_ids_and_titles_needs_no_column_for_the_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "title": ["A"]}), tmp_path / "d.parquet")
    for path in (write(tmp_path / "d.csv", "id,title\na,A\n"), str(tmp_path / "d.parquet")):
        assert [row for _, row in read(documents={"path": path})] == [Document("a", "A", "")]
        with pytest.raises(InputError, match="no column 'text'"):
            read(documents={"path": path, "text": "text"})


def test_numbers_that_the_tables_cannot_hold_are_rejected(tmp_path: Path) -> None:
    documents = {"path": write(tmp_path / "d.jsonl", '{"id": "a", "text": "one"}\n')}
    values = ["1" + "0" * 400, "1e39", "1e-60", "-Infinity", "true", "0.5"]
    links = write(tmp_path / "l.jsonl", "".join(f'{{"source": 1, "target": 2, "w": {v}}}\n' for v in values))
    found = read(documents=documents, links={"path": links, "weight": "w"})
    assert [row.weight for _, row in found if isinstance(row, Link)] == [1.0, 0.5]
    assert rejects(found) == {
        "line 1": f"'w' is not a finite number: '1{'0' * 49}'",
        "line 2": "'w' is a number that float32 cannot hold: '1e+39'",
        "line 3": "'w' is a number that float32 cannot hold: '1e-60'",
        "line 4": "'w' is not a finite number: '-inf'",
    }
    grades = "query_id,document_id,score\n" + "".join(f"q,a,{v}\n" for v in ("2.0", "0.5", "3000000000", "1_0", "null"))
    found = read(documents=documents, qrels={"path": write(tmp_path / "r.csv", grades)})
    assert [row for _, row in found if isinstance(row, Qrel)] == [Qrel("q", "a", 2)]
    assert rejects(found) == {
        "line 3": "'score' is not a whole number: '0.5'",
        "line 4": "'score' is a whole number of more than 32 bits: '3000000000'",
        "line 5": "'score' is not a number: '1_0'",
        "line 6": "'score' is null",
    }


def test_nan_is_missing_in_every_column(tmp_path: Path) -> None:
    lines = [
        '{"id": 1, "title": NaN, "text": "one", "year": NaN, "at": NaN}\n',
        '{"id": NaN, "title": "no id", "text": "two"}\n',
        '{"id": 3, "title": NaN, "text": NaN}\n',
        '{"id": 4, "title": Infinity, "text": "four"}\n',
    ]
    found = read(documents={"path": write(tmp_path / "d.jsonl", "".join(lines)), "time": "at"})
    assert found[0][1] == Document("1", "", "one", {})
    assert rejects(found) == {
        "line 2": "'id' is null",
        "line 3": "'text' is null",
        "line 4": "'title' is not a finite number: 'inf'",
    }


def test_seconds_and_iso_times_are_read_in_every_format(tmp_path: Path) -> None:
    written = ["1700000000", "1700000000.5", "2024-01-31", "", "null", "253402300800"]
    found = read(
        documents={
            "path": write(tmp_path / "d.csv", "id,text,at\n" + "".join(f"{n},t,{v}\n" for n, v in enumerate(written))),
            "time": "at",
        },
        links={"path": write(tmp_path / "l.jsonl", '{"source": 1, "target": 2, "at": "1700000000"}\n'), "time": "at"},
    )
    instant = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert [row.time for _, row in found if isinstance(row, Document | Link)] == [
        instant, instant.replace(microsecond=500_000), datetime(2024, 1, 31, tzinfo=UTC), None, None, instant
    ]  # fmt: skip
    assert rejects(found) == {"line 7": "'at' is not a time: '253402300800'"}


def test_parquet_texts_that_are_no_utf8_reject_their_rows(tmp_path: Path) -> None:
    raw = pa.array([b"one", b"caf\xe9", b"three"], pa.binary())
    bad = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    table = pa.table({"id": ["a", "b", "c"], "text": bad, "note": bad.take(pa.array([0, 0, 1]))})
    pq.write_table(table, tmp_path / "d.parquet")
    found = read(documents={"path": str(tmp_path / "d.parquet")})
    assert [row.id for _, row in found if isinstance(row, Document)] == ["a"]
    assert rejects(found) == {
        "row 2": "'text' is not UTF-8 at byte 3",
        "row 3": "'note' is not UTF-8 at byte 3",
    }
    found = read(documents={"path": str(tmp_path / "d.parquet"), "metadata": []})
    assert list(rejects(found)) == ["row 2"]  # a column that is not read rejects nothing


def test_times_that_python_cannot_hold_reject_their_rows(tmp_path: Path) -> None:
    times = pa.array([0, 2**62, None, 1_500_000_000_000], pa.int64()).cast(pa.timestamp("ms"))
    pq.write_table(pa.table({"id": list("abcd"), "text": list("abcd"), "at": times}), tmp_path / "d.parquet")
    found = read(documents={"path": str(tmp_path / "d.parquet"), "time": "at"})
    assert [row.time for _, row in found if isinstance(row, Document)] == [
        datetime(1970, 1, 1, tzinfo=UTC), None, datetime(2017, 7, 14, 2, 40, tzinfo=UTC)
    ]  # fmt: skip
    (reason,) = rejects(found).values()
    assert reason.startswith("'at' cannot be read: ")


def test_a_damaged_parquet_file_is_named_with_the_row(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    pq.write_table(pa.table({"id": [str(n) for n in range(5000)], "text": ["word"] * 5000}), path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[20:400] = bytes(380)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"d\.parquet: damaged Parquet after row 0"):
        read(documents={"path": str(path)})
