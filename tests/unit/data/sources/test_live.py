"""Documents that were put and deleted while a run was served have the last word over its corpus."""

import json
from pathlib import Path
from typing import Any

import pytest

from data.errors import InputError
from data.partitions import read_table
from data.sources import SourceConfig, fingerprint
from data.sources.ingest import ingest
from data.sources.live import read_changes, write_live, writes_of
from data.spread import here

DOCUMENTS = [{"id": id_, "title": id_.upper(), "text": f"text of {id_}", "kind": "k"} for id_ in "abcd"]
LINKS = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("d", "nobody"), ("new", "a")]


def put(text: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"title": "", "text": text, "metadata": {}, "time": None, **more}


CHANGES = [
    (2, "b", put("another text", title="B again", metadata={"n": [1, "x"]}, time="2024-01-02T01:00:00+00:00")),
    (5, "c", None),
    (6, "new", put("a new text\nof two lines")),
    (9, "gone before", None),
]


def corpus(folder: Path, **more: object) -> SourceConfig:
    (folder / "documents.jsonl").write_text("".join(json.dumps(row) + "\n" for row in DOCUMENTS))
    (folder / "links.csv").write_text("source,target\n" + "".join(f"{s},{t}\n" for s, t in LINKS))
    files = {name: {"path": str(folder / path)} for name, path in _FILES.items()}
    return SourceConfig.model_validate({"files": files, **more})


_FILES = {"documents": "documents.jsonl", "links": "links.csv"}


@pytest.fixture
def live(tmp_path: Path) -> Path:
    assert write_live(tmp_path / "live.jsonl", iter(CHANGES)) == 9
    return tmp_path / "live.jsonl"


def test_what_was_put_replaces_and_what_was_deleted_is_gone(tmp_path: Path, live: Path) -> None:
    result = ingest(corpus(tmp_path, live=live, strict=False), tmp_path / "out", here)
    documents = {row["id"]: row for row in read_table(tmp_path / "out" / "documents").to_pylist()}
    assert list(documents) == ["a", "d", "b", "new"]
    assert documents["b"]["title"] == "B again"
    assert json.loads(documents["b"]["metadata"]) == {"n": [1, "x"]}
    assert documents["b"]["time"].isoformat() == "2024-01-02T01:00:00+00:00"
    assert documents["new"]["text"] == "a new text\nof two lines"
    assert documents["a"]["text"] == "text of a"
    links = {(row["source"], row["target"]) for row in read_table(tmp_path / "out" / "links").to_pylist()}
    assert links == {("a", "b"), ("b", "d"), ("new", "a")}
    named = ("documents", "links", "live_writes", "live_replaced", "live_deleted", "live_links")
    assert [result[name] for name in named] == [4, 3, 9, 1, 1, 2]


def test_only_rows_that_are_wrong_are_rejected(tmp_path: Path, live: Path) -> None:
    config = corpus(tmp_path, live=live)
    with (tmp_path / "documents.jsonl").open("a") as file:
        file.write('{"id": "a", "text": "a again"}\n{"id": "b", "text": "b again"}\n')
    assert ingest(config, tmp_path / "out", here)["rejects"] == 2
    reasons = read_table(tmp_path / "out" / "rejects")["reason"].to_pylist()
    assert reasons == ["duplicate id 'a'", "link to unknown document 'nobody'"]


def test_a_strict_run_takes_what_was_deleted(tmp_path: Path, live: Path) -> None:
    config = corpus(tmp_path, live=live, strict=True)
    (tmp_path / "links.csv").write_text("source,target\na,c\na,b\n")
    assert ingest(config, tmp_path / "out", here)["links"] == 1


def test_a_corpus_without_changes_is_as_it_was(tmp_path: Path) -> None:
    result = ingest(corpus(tmp_path), tmp_path / "out", here)
    assert [result[name] for name in ("documents", "live_writes", "live_replaced", "live_links")] == [4, 0, 0, 0]


def test_the_tables_are_made_again_where_the_file_says_something_else(tmp_path: Path, live: Path) -> None:
    without, first = corpus(tmp_path), corpus(tmp_path, live=live)
    assert without.identity() == first.identity()  # keys of runs that were never served stay
    assert fingerprint(without) == {key: stamp for key, stamp in fingerprint(first).items() if key != "live"}
    before = fingerprint(first)
    moved = tmp_path / "elsewhere.jsonl"
    moved.write_bytes(live.read_bytes())
    assert fingerprint(first.model_copy(update={"live": moved})) == before
    write_live(live, [*CHANGES, (10, "e", put("more"))])
    assert fingerprint(first) != before


def test_the_file_is_read_as_it_was_written(live: Path) -> None:
    changes = read_changes(live)
    assert (changes.writes, changes.put, changes.deleted) == (9, {"b", "new"}, {"c", "gone before"})


@pytest.mark.parametrize("content", [None, "", '{"id": "a"}\n', "no json\n"])
def test_another_file_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "live.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=r"source\.live: .* is no file of documents that were put"):
        writes_of(path)
    with pytest.raises(InputError, match=r"source\.live"):
        fingerprint(corpus(tmp_path, live=path))
