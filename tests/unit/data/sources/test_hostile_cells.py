"""Each reader under hostile cells: nothing is raised, and every row that goes in comes out, as a row or as a reject."""

import csv
import io
import json
import tempfile
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.sources import SourceConfig, read_tasks
from data.sources.function import _row
from data.sources.landing import SCHEMAS, _Spool, land
from data.sources.rows import TABLE_OF, Reject

TABLES: dict[str, dict[str, Any]] = {
    "documents": {"id": "a", "title": "b", "text": "c", "time": "d"},
    "links": {"source": "a", "target": "b", "relation": "c", "weight": "d", "time": "e"},
    "queries": {"id": "a", "text": "b"},
    "qrels": {"query_id": "a", "document_id": "b", "score": "c"},
}
NAMES = ["a", "b", "c", "d", "e", "f"]

properties = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
words = st.sampled_from(
    [
        "", " ", "nan", "null", "inf", "-inf", "1e999", "1e39", "1e-60", "0.5", "1_0", "2", "-0", "9" * 5000,
        "1700000000", "2024-02-30", "20240230", "0001-01-01T00:00+23:59", "9999-12-31T23:59-23:59", "24:00", "\x00",
        "\ud800", "\u2028", '"', '""', "\r", "a" * 200, "99999999999999999999",
    ]
)  # fmt: skip
text = words | st.text(max_size=8)
numbers = st.one_of(
    st.integers(), st.floats(), st.sampled_from([10**400, -(10**400), 2**63, 2**31, float("nan"), float("inf"), 1e300])
)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)


def counted(table: str, name: str, content: bytes, **options: object) -> dict[str, Any]:
    """What landing one file as one table counts."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        files: dict[str, Any] = {"documents": {"path": str(path), "format": "jsonl"}}
        files[table] = {"path": str(path), **TABLES[table], **options}
        tasks = read_tasks(SourceConfig.model_validate({"files": files}))
        tasks = tasks if table == "documents" else tasks[1:]
        landed = Path(folder, "landed")
        landed.mkdir()
        counts = [land(task, number, landed, strict=False) for number, task in enumerate(tasks)]
        return {key: sum(of_task[key] for of_task in counts) for key in (table, "rejects")}


@pytest.mark.parametrize("table", TABLES)
@properties
@given(rows=st.lists(st.dictionaries(st.sampled_from(NAMES), json_values), min_size=1, max_size=5))
def test_json_lines(table: str, rows: list[dict[str, Any]]) -> None:
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    counts = counted(table, "t.jsonl", content)
    assert counts[table] + counts["rejects"] == len(rows)


@pytest.mark.parametrize("table", TABLES)
@properties
@given(rows=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=5))
def test_json_lines_of_any_bytes(table: str, rows: list[bytes]) -> None:
    rows = [b"x" + row.replace(b"\n", b"").replace(b"\r", b"") for row in rows]
    counts = counted(table, "t.jsonl", b"\n".join(rows))
    assert counts == {table: 0, "rejects": len(rows)}


@pytest.mark.parametrize("format_", ["csv", "tsv"])
@pytest.mark.parametrize("table", TABLES)
@properties
@given(rows=st.lists(st.lists(text, min_size=6, max_size=6), min_size=1, max_size=5))
def test_delimited(table: str, format_: str, rows: list[list[str]]) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter="," if format_ == "csv" else "\t", lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(NAMES)
    writer.writerows(rows)
    content = buffer.getvalue().encode("utf-8", "surrogatepass")
    counts = counted(table, f"t.{format_}", content, quoted=True)
    surrogates = any("\ud800" <= c <= "\udfff" for row in rows for cell in row for c in cell)
    found = counts[table] + counts["rejects"]
    assert found == len(rows) or (surrogates and found > len(rows))  # a broken record of several lines: a reject each


@pytest.mark.parametrize("format_", ["csv", "tsv", "jsonl"])
@properties
@given(content=st.binary(max_size=200))
def test_any_bytes_after_a_header(format_: str, content: bytes) -> None:
    header = {"csv": b"a,b,c,d\n", "tsv": b"a\tb\tc\td\n", "jsonl": b""}[format_]
    counted("documents", f"t.{format_}", header + content.removeprefix(b"\x1f\x8b"), metadata=["a"])


def arrow_columns() -> st.SearchStrategy[Any]:
    """A column of three hostile values, of every Arrow type that Parquet holds."""
    raw = {
        "binary": pa.array([b"\xff", b"ok", None], pa.binary()),
        "text": pa.Array.from_buffers(pa.string(), 3, pa.array([b"\xff\xfe", b"ok", b"a\x80"], pa.binary()).buffers()),
        "list": pa.array([["a"], None, []], pa.list_(pa.string())),
        "bad list": pa.ListArray.from_arrays(
            [0, 1, 2, 3],
            pa.Array.from_buffers(pa.string(), 3, pa.array([b"\xff", b"ok", b"a"], pa.binary()).buffers()),
        ),
        "struct": pa.array([{"x": 1}, None, {"x": None}]),
        "map": pa.array([[("k", "v")], None, []], pa.map_(pa.string(), pa.string())),
        "bool": pa.array([True, None, False]),
        "float": pa.array([float("nan"), float("inf"), 1e300]),
        "half": pa.array(np.array([np.nan, np.inf, 1], np.float16)),
        "uint": pa.array([2**64 - 1, None, 0], pa.uint64()),
        "date": pa.array([-(2**31), 2**31 - 1, None], pa.int32()).cast(pa.date32()),
        "time": pa.array([0, 10**10, None], pa.int64()).cast(pa.time64("us")),
        "seconds": pa.array([2**63 - 1, -(2**63), 0], pa.int64()).cast(pa.timestamp("ms")),
        "nanoseconds": pa.array([1, None, 2**63 - 1], pa.int64()).cast(pa.timestamp("ns")),
        "zone": pa.array([0, None, 1], pa.int64()).cast(pa.timestamp("us", tz="No/Where")),
        "duration": pa.array([2**63 - 1, None, 1], pa.int64()).cast(pa.duration("s")),
        "decimal": pa.array([Decimal("1e20"), None, Decimal("0.5")], pa.decimal128(38, 4)),
        "dictionary": pa.array(["a", None, "b"]).dictionary_encode(),
        "null": pa.nulls(3),
        "uuid": pa.array([UUID(int=n).bytes for n in range(3)], pa.uuid()),
        "integers": pa.array([1, 2, 3]),
        "words": pa.array(["a", "nan", ""]),
    }
    return st.sampled_from(list(raw.values()))


@pytest.mark.parametrize("table", TABLES)
@properties
@given(columns=st.lists(arrow_columns(), min_size=6, max_size=6))
def test_parquet(table: str, columns: list[Any]) -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table(dict(zip(NAMES, columns, strict=True))), buffer, row_group_size=2)
    counts = counted(table, "t.parquet", buffer.getvalue(), format="parquet")
    assert counts[table] + counts["rejects"] == 3


class Zone(tzinfo):
    """A time zone that cannot be asked."""

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        raise RuntimeError("no")


class Unprintable:
    """An object of the user's own that cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        return "Unprintable()"


objects = st.sampled_from(
    [
        pd.NaT, pd.NA, np.datetime64("NaT"), np.datetime64("300000-01-01"), np.float32("inf"), np.int8(1), np.zeros(2),
        Decimal("sNaN"), Decimal("1e400"), datetime.max, datetime.min.replace(tzinfo=UTC), date.max, b"\xff", 1j,
        object(),
        Unprintable(), {1: 2}, {("a",): [Unprintable()]}, range(3), timedelta.max,
        UUID(int=1), pd.Timestamp("2024-01-01 00:00:00.000000001"),
    ]
)  # fmt: skip
keys = st.sampled_from(["id", "title", "text", "time", "source", "target", "weight", "query_id", "score", "table", "x"])


@pytest.mark.parametrize("key", ["id", "text", "time", "x"])
def test_values_that_cannot_even_be_printed_or_compared(key: str) -> None:
    for value in (datetime(2024, 1, 1, tzinfo=Zone()), 10**5000, Unprintable()):
        assert isinstance(_row({"id": 1, "text": "one", key: value}), Reject)


@properties
@given(items=st.lists(st.dictionaries(keys | st.integers(), json_values | objects) | objects, min_size=1, max_size=6))
def test_a_function_of_the_user(items: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = [_row(item) for item in items]
        for n, row in enumerate(rows):
            if not isinstance(row, Reject):
                table = TABLE_OF[type(row)]
                spool = _Spool(table, SCHEMAS[table], n, Path(folder))
                spool.add(row, n)
                spool.flush()
        assert len(rows) == len(items)
