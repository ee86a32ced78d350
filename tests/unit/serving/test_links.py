"""A document's links by binary search in Arrow columns."""

from pathlib import Path

import pyarrow as pa
import pytest

from data.partitions import partition_name, write_partition
from data.schema import DOCUMENTS, LINKS
from serving.links import LinkTables, SortedTable


def write(folder: Path, table: pa.Table) -> Path:
    folder.mkdir()
    write_partition(table, folder / partition_name(0))
    return folder


def documents(folder: Path, ids: list[str]) -> Path:
    rows = [{"id": id_, "title": f"title of {id_}", "text": "text"} for id_ in ids]
    return write(folder, pa.Table.from_pylist(rows, DOCUMENTS))


def links(folder: Path, rows: list[tuple[str, str, float]]) -> Path:
    described = [{"source": s, "target": t, "relation": "cites", "weight": w} for s, t, w in rows]
    return write(folder, pa.Table.from_pylist(described, LINKS))


@pytest.fixture
def tables(tmp_path: Path) -> LinkTables:
    proposed = pa.table(
        {
            "source": ["z/1", "b"],
            "target": ["a", "z/1"],
            "source_title": ["Z", "B"],
            "target_title": ["A", "Z"],
            "relation": ["cites", "cites"],
            "probability": [0.25, 0.75],
            "reason": ["because", "why not"],
        }
    )
    return LinkTables(
        documents(tmp_path / "documents", ["z/1", "a", "b", "ç"]),
        links(tmp_path / "links", [("a", "z/1", 1.0), ("b", "a", 3.0), ("a", "b", 2.0), ("ç", "b", 1.0)]),
        write(tmp_path / "discovered", proposed),
    )


def test_known_links_in_both_directions_strongest_first(tables: LinkTables) -> None:
    assert [(link.id, link.direction, link.weight) for link in tables.known("a")] == [
        ("b", "in", 3.0),
        ("b", "out", 2.0),
        ("z/1", "out", 1.0),
    ]
    assert tables.known("a")[0].title == "title of b"
    assert [link.id for link in tables.known("ç")] == ["b"]


def test_discovered_links_from_either_end_most_probable_first(tables: LinkTables) -> None:
    found = [(link.id, link.title, link.probability, link.reason) for link in tables.discovered("z/1")]
    assert found == [("b", "B", 0.75, "why not"), ("a", "A", 0.25, "because")]
    assert tables.discovered("ç") == []


def test_an_unknown_document_has_no_title(tables: LinkTables) -> None:
    assert tables.title("z/1") == "title of z/1"
    assert tables.title("z") is None
    assert tables.known("nobody") == []


@pytest.mark.parametrize("proposals", ["absent", "folder without partitions"])
def test_no_links_and_no_proposals(tmp_path: Path, proposals: str) -> None:
    discovered = None
    if proposals != "absent":
        discovered = tmp_path / "discovered"
        discovered.mkdir()
    tables = LinkTables(documents(tmp_path / "documents", ["a"]), links(tmp_path / "links", []), discovered)
    assert (tables.known("a"), tables.discovered("a"), tables.title("a")) == ([], [], "title of a")


def test_rows_of_every_key_of_a_shuffled_table() -> None:
    keys = [f"k{i % 7}" for i in range(50)]
    table = SortedTable(pa.table({"k": keys, "n": range(50)}), "k")
    for key in {*keys, "absent"}:
        assert sorted(row["n"] for row in table.rows(key)) == [n for n, k in enumerate(keys) if k == key]


def test_an_id_stands_where_a_title_is_empty(tmp_path: Path) -> None:
    rows = [{"id": id_, "title": " ", "text": "text"} for id_ in ("a", "b")]
    proposed = {"source": ["a"], "target": ["b"], "source_title": [""], "target_title": [""], "relation": ["r"]}
    proposed |= {"probability": [0.5], "reason": ["because"]}
    tables = LinkTables(
        write(tmp_path / "documents", pa.Table.from_pylist(rows, DOCUMENTS)),
        links(tmp_path / "links", [("a", "b", 1.0)]),
        write(tmp_path / "discovered", pa.table(proposed)),
    )
    assert (tables.title("a"), tables.known("a")[0].title, tables.discovered("b")[0].title) == ("a", "b", "a")
