"""Steps on partitions of documents: what they return is checked, and reported with the document's id."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from data.errors import InputError
from data.partitions import partition_name, read_table, write_partition
from data.passages.document_steps import StepPartitions
from data.passages.steps import StepConfig
from data.schema import DOCUMENTS

MODULE = """
from datetime import date

def upper(document: dict) -> dict:
    return {**document, "text": document["text"].upper()}

def tag(documents: list[dict]) -> list[dict]:
    return [{**d, "metadata": {**d["metadata"], "words": len(d["text"].split())}} for d in documents]

def minimal(document):
    return {"id": document["id"], "text": "new"}

def surrogate(document):
    return {**document, "text": "lone \\ud800"}

def forgets(document):
    document["text"] = "x"

def renames(document):
    return {**document, "id": "other"}

def invents(document):
    return {**document, "txt": "x"}

def numbers(document):
    return {**document, "text": 5}

def typed(document):
    n = document["metadata"].get("n", 0) + 0.5
    return {**document, "metadata": {"n": n, "ok": True, "on": date(2024, 1, 2), "none": None}}

def bytes_in_it(document):
    return {**document, "metadata": {"thumb": b"x"}}

def listed(document):
    return {**document, "metadata": ["n"]}

def dates(document):
    return {**document, "time": "yesterday"}

def raises(document):
    if document["id"] == "b":
        raise ValueError("not this one")
    return document
"""


def metadata(id_: str) -> str | None:
    return None if id_ == "c" else json.dumps({"kind": id_, "n": 1})


@pytest.fixture
def partition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Three documents in a partition, and the user's module on the path."""
    (tmp_path / "own_document_steps.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    rows = [
        {
            "id": id_,
            "title": f"T {id_}",
            "text": f"text of {id_}",
            "metadata": json.dumps({"kind": id_, "n": 1}) if id_ != "c" else None,
        }
        for id_ in "abc"
    ]
    path = tmp_path / "documents" / partition_name(3)
    path.parent.mkdir()
    write_partition(pa.Table.from_pylist(rows, DOCUMENTS), path)
    (tmp_path / "out").mkdir()
    yield path
    sys.modules.pop("own_document_steps", None)


def apply(partition: Path, *names: str) -> list[dict[str, object]]:
    out = partition.parents[1] / "out"
    StepPartitions([StepConfig(path=f"own_document_steps:{name}") for name in names], out).apply(partition)
    rows: list[dict[str, object]] = read_table(out).to_pylist()
    return rows


def test_steps_follow_each_other_and_keep_the_order(partition: Path) -> None:
    rows = apply(partition, "upper", "tag")
    assert [row["text"] for row in rows] == ["TEXT OF A", "TEXT OF B", "TEXT OF C"]
    assert rows[0]["metadata"] == '{"kind":"a","n":1,"words":3}'
    assert rows[2]["metadata"] == '{"words":3}'


def test_what_is_left_out_is_empty_and_lone_surrogates_are_replaced(partition: Path) -> None:
    (row, *_) = apply(partition, "minimal", "surrogate")
    assert row == {"id": "a", "title": "", "text": "lone \ufffd", "metadata": None, "time": None}


def test_metadata_keeps_its_types(partition: Path) -> None:
    (row, *_) = apply(partition, "tag", "typed")
    assert row["metadata"] == '{"n":1.5,"ok":true,"on":"2024-01-02"}'


def test_a_partition_that_stands_is_not_made_again(partition: Path) -> None:
    apply(partition, "upper")
    assert [row["text"] for row in apply(partition, "minimal")] == ["TEXT OF A", "TEXT OF B", "TEXT OF C"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("forgets", "returned NoneType, not a document: does it end with `return document`"),
        ("renames", "changed the id to 'other'"),
        ("invents", "no 'txt'; did you mean 'text'"),
        ("numbers", "'text' is int, not a string"),
        ("bytes_in_it", "'metadata' cannot be kept: 'thumb' is binary"),
        ("listed", "'metadata' is list, not a mapping"),
        ("dates", "'time' is str, not a datetime"),
    ],
)
def test_what_is_no_document_is_told(partition: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=f"step own_document_steps:{name} failed on document 'a': .*{message}"):
        apply(partition, name)


def test_the_document_that_fails_is_named(partition: Path) -> None:
    with pytest.raises(InputError, match="failed on document 'b': ValueError: not this one"):
        apply(partition, "raises")
    worker = StepPartitions([StepConfig(path="own_document_steps:raises")], partition.parents[1] / "out")
    assert "document 'b'" in str(worker(partition))
