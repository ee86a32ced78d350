"""Ids over all of a corpus, on landed rows; no Ray."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import data.sources.resolve
from data.errors import InputError
from data.partitions import read_table
from data.schema import DOCUMENTS, LINKS, QRELS, QUERIES, REJECTS
from data.sources.landing import land
from data.sources.resolve import Resolution
from data.sources.rows import Document, Link, Qrel, Query, Reading, ReadTask, Row


def yields(rows: list[Row]) -> Reading:
    return iter(list(enumerate(rows, start=1)))


def resolve(
    folder: Path, *files: list[Row], undirected: bool = True, strict: bool = False, self_links: bool = False
) -> dict[str, int]:
    """Land the rows of each file, then resolve them."""
    tasks = [ReadTask(f"file-{n}", "line", partial(yields, rows)) for n, rows in enumerate(files)]
    for number, task in enumerate(tasks):
        land(task, number, folder / "landed", strict)
    return Resolution(folder / "landed", folder, tasks, undirected, strict, self_links).run()


@pytest.fixture
def landing(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "landed").mkdir()
    yield tmp_path


def links(folder: Path) -> list[tuple[str, str, str, float]]:
    table = read_table(folder / "links").to_pylist()
    return [(row["source"], row["target"], row["relation"], row["weight"]) for row in table]


ABC: list[Row] = [Document(id_, id_.upper(), "text", {"k": "v"}) for id_ in "abc"]


def test_the_first_of_a_duplicate_id_wins_over_all_files(landing: Path) -> None:
    counts = resolve(landing, [Document("a", "first", "")], [Document("b", "b", ""), Document("a", "second", "")])
    assert counts["documents"] == 2
    assert read_table(landing / "documents")["title"].to_pylist() == ["first", "b"]
    (reject,) = read_table(landing / "rejects").to_pylist()
    assert reject == {
        "table": "documents", "source": "file-1", "place": "line 2", "reason": "duplicate id 'a'",
        "content": "a\tsecond"
    }  # fmt: skip


def test_links_to_unknown_documents_are_rejected_with_their_place(landing: Path) -> None:
    counts = resolve(landing, [*ABC, Link("a", "x", "r"), Link("y", "z", "r"), Link("a", "b", "r")])
    assert links(landing) == [("a", "b", "r", 1.0)]
    assert counts["rejects"] == 2
    rejects = read_table(landing / "rejects").to_pylist()
    assert [(row["place"], row["reason"], row["content"]) for row in rejects] == [
        ("line 4", "link to unknown document 'x'", "a\tx\tr"),
        ("line 5", "link to unknown document 'y'", "y\tz\tr"),
    ]


TOLD_TWICE: list[Row] = [
    *ABC,
    Link("a", "b", "r", 5),
    Link("b", "a", "r", 6),
    Link("a", "b", "other"),
    Link("a", "b", "r", 7),
    Link("c", "c", "r"),
]


@pytest.mark.parametrize("window", [1, 10**6])
def test_a_link_and_its_reverse_are_one_unless_links_are_directed(
    landing: Path, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(data.sources.resolve, "WINDOW_ROWS", window)
    counts = resolve(landing, TOLD_TWICE, [Link("b", "a", "r", 8), Link("b", "c", "r")])
    assert links(landing) == [("a", "b", "r", 5.0), ("a", "b", "other", 1.0), ("b", "c", "r", 1.0)]
    assert (counts["links"], counts["duplicate_links"], counts["self_links"], counts["rejects"]) == (3, 3, 1, 0)


def test_directed_links_keep_their_reverse(landing: Path) -> None:
    counts = resolve(landing, TOLD_TWICE, undirected=False)
    assert links(landing) == [("a", "b", "r", 5.0), ("b", "a", "r", 6.0), ("a", "b", "other", 1.0)]
    assert (counts["duplicate_links"], counts["self_links"]) == (1, 1)


def test_links_of_a_document_to_itself_are_kept_where_they_are_wanted(landing: Path) -> None:
    counts = resolve(landing, TOLD_TWICE, [Link("c", "c", "r", 9)], self_links=True)
    assert links(landing)[-1] == ("c", "c", "r", 1.0)
    assert (counts["duplicate_links"], counts["self_links"]) == (3, 0)


def test_judgments_need_their_question(landing: Path) -> None:
    questions: list[Row] = [Query("q", "?"), Query("q", "again?")]
    counts = resolve(landing, ABC, [*questions, Qrel("q", "a", 1), Qrel("p", "a", 1), Qrel("q", "gone", 1)])
    assert [row["document_id"] for row in read_table(landing / "qrels").to_pylist()] == ["a", "gone"]
    assert counts["unknown_judged"] == 1
    assert read_table(landing / "rejects")["reason"].to_pylist() == [
        "duplicate id 'q'",
        "judgment of unknown query 'p'",
    ]


def test_every_table_is_there_with_its_schema_though_empty(landing: Path) -> None:
    counts = resolve(landing, ABC)
    for table, schema in {
        "documents": DOCUMENTS,
        "links": LINKS,
        "queries": QUERIES,
        "qrels": QRELS,
        "rejects": REJECTS,
    }.items():
        found = read_table(landing / table)
        assert found.schema.equals(schema), table
        assert found.num_rows == counts[table] == (3 if table == "documents" else 0)
    assert read_table(landing / "documents")["metadata"].to_pylist()[0] == '{"k":"v"}'


def test_a_strict_run_ends_at_the_first_reject(landing: Path) -> None:
    with pytest.raises(InputError, match="rejected: file-0, line 4: link to unknown document 'x'"):
        resolve(landing, [*ABC, Link("a", "x", "r")], strict=True)
