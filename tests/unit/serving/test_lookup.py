"""Documents and links from the file that a replica looks them up in."""

import asyncio
import concurrent.futures
from pathlib import Path

import pyarrow as pa
import pytest

from data.partitions import partition_name, write_partition
from data.schema import DOCUMENTS, LINKS
from serving.lookup import FILE, LookupFile, write_lookup
from serving.schemas import LinksResponse


def write(folder: Path, table: pa.Table) -> Path:
    folder.mkdir()
    write_partition(table, folder / partition_name(0))
    return folder


def documents(folder: Path, ids: list[str], title: str = "title of {}") -> Path:
    rows = [
        {
            "id": id_,
            "title": title.format(id_),
            "text": f"text of {id_}",
            "metadata": '{"n": 1}' if id_ == "a" else None,
        }
        for id_ in ids
    ]
    return write(folder, pa.Table.from_pylist(rows, DOCUMENTS))


def links(folder: Path, rows: list[tuple[str, str, float]]) -> Path:
    described = [{"source": s, "target": t, "relation": "cites", "weight": w} for s, t, w in rows]
    return write(folder, pa.Table.from_pylist(described, LINKS))


PROPOSED = pa.table(
    {
        "source": ["z/1", "b"],
        "target": ["a", "z/1"],
        "relation": ["cites", "cites"],
        "probability": [0.25, 0.75],
        "reason": ["because", "why not"],
    }
)


@pytest.fixture
def lookup(tmp_path: Path) -> LookupFile:
    counts = write_lookup(
        tmp_path,
        documents(tmp_path / "documents", ["z/1", "a", "b", "ç"]),
        links(tmp_path / "links", [("a", "z/1", 1.0), ("b", "a", 3.0), ("a", "b", 2.0), ("ç", "b", 1.0)]),
        write(tmp_path / "discovered", PROPOSED),
    )
    assert counts == {"documents": 4, "links": 4, "proposed": 2}
    return LookupFile(tmp_path)


def links_of(lookup: LookupFile, id_: str, limit: int = 100) -> LinksResponse:
    found = asyncio.run(lookup.links(id_, limit))
    assert found is not None
    return found


def test_known_links_in_both_directions_strongest_first(lookup: LookupFile) -> None:
    known = links_of(lookup, "a").known
    assert [(link.id, link.direction, link.weight) for link in known] == [
        ("b", "in", 3.0),
        ("b", "out", 2.0),
        ("z/1", "out", 1.0),
    ]
    assert known[0].title == "title of b"
    assert [link.id for link in links_of(lookup, "ç").known] == ["b"]


def test_discovered_links_from_either_end_most_probable_first(lookup: LookupFile) -> None:
    found = [(link.id, link.title, link.probability, link.reason) for link in links_of(lookup, "z/1").discovered]
    assert found == [("b", "title of b", 0.75, "why not"), ("a", "title of a", 0.25, "because")]
    assert links_of(lookup, "ç").discovered == []


def test_weights_of_links_without_direction(lookup: LookupFile) -> None:
    assert lookup.links_of(["a", "ç", "nobody"], "known") == {
        "a": [("b", 5.0), ("z/1", 1.0)],
        "ç": [("b", 1.0)],
        "nobody": [],
    }
    assert lookup.links_of(["z/1"], "discovered") == {"z/1": [("a", 0.25), ("b", 0.75)]}
    assert lookup.strengths(["a", "b", "nobody"], "known") == {"a": 6.0, "b": 6.0, "nobody": 0.0}
    assert lookup.strengths(["z/1"], "discovered") == {"z/1": 1.0}


def test_links_without_weight_and_of_a_document_to_itself_lead_nowhere(tmp_path: Path) -> None:
    rows = [("a", "a", 5.0), ("a", "b", 0.0), ("b", "a", -1.0), ("a", "c", 2.0)]
    write_lookup(tmp_path, documents(tmp_path / "documents", ["a"]), links(tmp_path / "links", rows), None)
    found = LookupFile(tmp_path)
    assert found.links_of(["a", "b"], "known") == {"a": [("c", 2.0)], "b": []}
    assert found.strengths(["a", "b", "c"], "known") == {"a": 2.0, "b": 0.0, "c": 2.0}


def test_of_a_hub_a_thousand_links_are_read(tmp_path: Path) -> None:
    rows = [("hub", f"d{number}", 1.0) for number in range(1500)]
    write_lookup(tmp_path, documents(tmp_path / "documents", ["hub"]), links(tmp_path / "links", rows), None)
    found = LookupFile(tmp_path)
    assert len(found.links_of(["hub"], "known")["hub"]) == 1000 == found.strengths(["hub"], "known")["hub"]
    assert found.links_of(["d1499"], "known") == {"d1499": [("hub", 1.0)]}


def test_the_limit_counts_for_each_kind(lookup: LookupFile) -> None:
    answer = links_of(lookup, "a", limit=2)
    assert ([link.weight for link in answer.known], len(answer.discovered)) == ([3.0, 2.0], 1)


def test_documents_have_text_and_metadata(lookup: LookupFile) -> None:
    first, second = (asyncio.run(lookup.document(id_)) for id_ in ("a", "z/1"))
    assert first is not None and (first.title, first.text, first.metadata) == ("title of a", "text of a", {"n": 1})
    assert second is not None and second.metadata == {}


@pytest.mark.parametrize("id_", ["nobody", "A", "z", "' OR 1=1 --", "a\0"])
def test_an_unknown_id_finds_nothing(lookup: LookupFile, id_: str) -> None:
    assert asyncio.run(lookup.document(id_)) is None and asyncio.run(lookup.links(id_, 10)) is None


@pytest.mark.parametrize("proposals", ["absent", "folder without partitions"])
def test_no_links_and_no_proposals(tmp_path: Path, proposals: str) -> None:
    discovered = None
    if proposals != "absent":
        discovered = tmp_path / "discovered"
        discovered.mkdir()
    write_lookup(tmp_path, documents(tmp_path / "documents", ["a"]), links(tmp_path / "links", []), discovered)
    answer = links_of(LookupFile(tmp_path), "a")
    assert (answer.known, answer.discovered, answer.title) == ([], [], "title of a")


def test_an_id_stands_where_a_title_is_empty(tmp_path: Path) -> None:
    proposed = PROPOSED.slice(0, 1).set_column(0, "source", pa.array(["b"]))
    table, known = documents(tmp_path / "documents", ["a", "b"], " "), links(tmp_path / "links", [("a", "b", 1.0)])
    write_lookup(tmp_path, table, known, write(tmp_path / "discovered", proposed))
    answer = links_of(LookupFile(tmp_path), "a")
    assert (answer.title, answer.known[0].title, answer.discovered[0].title) == ("a", "b", "b")


def test_many_threads_ask_at_once(lookup: LookupFile) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: len(links_of(lookup, "ab"[n % 2]).known), range(64)))
    assert found == [3, 3] * 32


def test_the_file_is_read_only(lookup: LookupFile, tmp_path: Path) -> None:
    (tmp_path / FILE).chmod(0o444)
    before = (tmp_path / FILE).read_bytes()
    links_of(LookupFile(tmp_path), "a")
    assert (tmp_path / FILE).read_bytes() == before and not list(tmp_path.glob("*-journal"))
