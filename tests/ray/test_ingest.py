"""Ingest on Ray Data: real corpora, bad input, interruption."""

import json
from pathlib import Path
from typing import Any

import pytest

from data.errors import InputError
from data.partitions import partitions, read_table
from data.sources import SourceConfig, read_tasks
from data.sources.ingest import ingest
from data.sources.landing import counts_path, land
from ray_apps.config import RunConfig
from ray_apps.plan import Plan

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]


def corpus(folder: Path, documents: str, links: str | None = None, **options: object) -> SourceConfig:
    """A corpus in two files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "documents.jsonl").write_text(documents)
    files: dict[str, Any] = {"documents": {"path": str(folder / "documents.jsonl")}}
    if links is not None:
        (folder / "links.csv").write_text("source,target\n" + links)
        files["links"] = {"path": str(folder / "links.csv")}
    return SourceConfig.model_validate({"files": files, **options})


GOOD = '{"id": "a", "text": "one"}\n{"id": "b", "text": "two"}\n{"id": "c", "text": "three"}\n'


def test_good_rows_are_kept_and_bad_ones_put_aside_with_place_and_reason(tmp_path: Path) -> None:
    documents = GOOD + '{"id": "a", "text": "again"}\nno json\n{"id": "e", "text": " "}\n'
    result = ingest(corpus(tmp_path, documents, "a,b\nb,a\nc,c\nb,x\n"), tmp_path / "out")
    assert {key: result[key] for key in ("documents", "links", "rejects", "duplicate_links", "self_links")} == {
        "documents": 3, "links": 1, "rejects": 4, "duplicate_links": 1, "self_links": 1
    }  # fmt: skip
    assert result["reject_reasons"] == {
        "not JSON": 1,
        "empty text": 1,
        "duplicate id": 1,
        "link to unknown document": 1,
    }
    rejects = {row["place"]: row for row in read_table(tmp_path / "out" / "rejects").to_pylist()}
    assert set(rejects) == {"line 4", "line 5", "line 6"}
    assert json.dumps(result)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "documents", "links", "qrels", "queries", "rejects"
    ]  # fmt: skip


def test_a_source_that_no_worker_can_read_is_an_error_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"1 records lack .* 'text' is missing in \{\"id\": \"a\", \"body\"") as error:
        ingest(corpus(tmp_path, '{"id": "a", "body": "one"}\n'), tmp_path / "out")
    assert "Traceback" not in str(error.value)


@pytest.mark.parametrize(
    ("documents", "links", "message"),
    [(GOOD + "no json\n", None, r"line 4: not JSON"), (GOOD, "a,x\n", r"line 2: link to unknown document 'x'")],
)
def test_a_strict_run_ends_at_the_first_reject(tmp_path: Path, documents: str, links: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ingest(corpus(tmp_path, documents, links, strict=True), tmp_path / "out")


def test_an_interrupted_ingest_goes_on_and_gives_the_same_rows(tmp_path: Path) -> None:
    config = corpus(tmp_path, GOOD, "a,b\nb,c\n")
    ingest(config, tmp_path / "whole")
    landed = tmp_path / "parts" / "landed"
    landed.mkdir(parents=True)
    documents, links = read_tasks(config)
    land(documents, 0, landed, strict=False)
    land(links, 1, landed, strict=False)
    counts_path(landed, 1).unlink()  # killed after its rows were written, before it could say so
    (landed / "links" / ".part-00001-00000.parquet.unfinished").write_bytes(b"half a file")
    stamps = [path.stat().st_mtime_ns for path in sorted((landed / "documents").iterdir())]
    result = ingest(config, tmp_path / "parts")
    assert (result["documents"], result["links"]) == (3, 2)
    for table in ("documents", "links", "rejects"):
        assert read_table(tmp_path / "parts" / table) == read_table(tmp_path / "whole" / table)
    kept = partitions(tmp_path / "parts" / "documents")
    assert kept[0].stat().st_mtime_ns in stamps  # the finished task was not run again


def test_a_document_of_ten_megabytes_is_cut_into_passages(tmp_path: Path, workspace: Path) -> None:
    text = "A sentence of a long book. " * 400_000
    source = corpus(tmp_path / "corpus", json.dumps({"id": "long", "title": "Book", "text": text}) + "\n")
    run = RunConfig(name="long", workspace=workspace, source=source)
    passages = Plan(run).bring("chunk")
    assert passages.result["documents"] == 1
    assert passages.result["passages"] > 10_000
    for row in read_table(passages.path / "passages").slice(5000, 10).to_pylist():
        assert row["text"] == text[row["start"] : row["end"]]
    assert Plan(run).bring("chunk").key == passages.key


def test_strict_speaks_up_though_the_tables_were_made_before(tmp_path: Path, workspace: Path) -> None:
    source = corpus(tmp_path / "corpus", GOOD + "no json\n")
    lenient = RunConfig(name="r", workspace=workspace, source=source)
    strict = RunConfig(name="r", workspace=workspace, source=source.model_copy(update={"strict": True}))
    made = Plan(lenient).bring("ingest")
    assert made.result["rejects"] == 1
    with pytest.raises(InputError, match="line 4: not JSON"):
        Plan(strict).bring("ingest")


def test_the_king_james_bible(data_root: Path, tmp_path: Path) -> None:
    folder = data_root / "bible"
    verses, crossrefs = str(folder / "verses.jsonl.gz"), str(folder / "crossrefs.tsv.gz")
    config = SourceConfig.model_validate({"bible": {"verses": verses, "crossrefs": crossrefs}})
    result = ingest(config, tmp_path)
    assert {key: result[key] for key in ("documents", "links", "duplicate_links", "rejects")} == {
        "documents": 31_102, "links": 224_394, "duplicate_links": 29_470, "rejects": 1
    }  # fmt: skip
    assert "'3John.1.15'" in read_table(tmp_path / "rejects")["reason"].to_pylist()[0]
    links = read_table(tmp_path / "links", columns=["source", "target"]).to_pylist()
    assert len({frozenset(link.values()) for link in links}) == 224_394


def test_the_built_in_corpus(tmp_path: Path) -> None:
    result = ingest(SourceConfig.model_validate({"pydocs": {"max_documents": 2000}}), tmp_path)
    assert result["documents"] == 2000
    assert result["links"] > 3000
    assert result["rejects"] < 0.05 * result["links"]
