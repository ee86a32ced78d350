"""Where files lie, and what is said where they do not."""

import os
from pathlib import Path

import pytest

from data.errors import InputError
from data.sources import SourceConfig, fingerprint, read_tasks
from data.sources.paths import expand, find
from data.sources.records import format_of


def test_catena_data_has_a_default_and_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CATENA_DATA", raising=False)
    assert expand("$CATENA_DATA/x.jsonl") == Path("../shared/data/x.jsonl")
    monkeypatch.setenv("CATENA_DATA", "/corpora")
    assert expand("${CATENA_DATA}/x.jsonl") == Path("/corpora/x.jsonl")


def test_other_variables_have_to_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    with pytest.raises(InputError, match="NOWHERE is not set"):
        expand("$NOWHERE/x.jsonl")


def test_a_pattern_finds_files_in_order(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "c.txt"):
        (tmp_path / name).touch()
    assert [file.name for file in find(str(tmp_path / "*.jsonl"))] == ["a.jsonl", "b.jsonl"]


def test_a_missing_file_is_named_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "verses.jsonl").touch()
    with pytest.raises(InputError, match=r"verse\.jsonl") as error:
        find(str(tmp_path / "verse.jsonl"))
    assert "verses.jsonl" in error.value.remedy


def test_a_missing_corpus_repeats_where_it_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATENA_DATA", str(tmp_path / "absent"))
    config = SourceConfig.model_validate(
        {"beir": {"folder": "$CATENA_DATA/scifact"}, "where": "Published at https://example.org, goes to the folder."}
    )
    with pytest.raises(InputError) as error:
        fingerprint(config)
    assert "corpus.jsonl" in error.value.problem
    assert "Set CATENA_DATA" in error.value.remedy
    assert error.value.remedy.endswith("Published at https://example.org, goes to the folder.")


def test_the_fingerprint_changes_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "documents.jsonl"
    file.write_text('{"id": 1, "text": "one"}\n')
    config = SourceConfig.model_validate({"files": {"documents": {"path": str(file)}}})
    before = fingerprint(config)
    assert fingerprint(config) == before
    file.write_text('{"id": 1, "text": "one, and more"}\n')
    assert fingerprint(config) != before
    longer = fingerprint(config)
    os.utime(file, ns=(1, 1))
    assert fingerprint(config) != longer


@pytest.mark.parametrize("given", [{}, {"pydocs": {}, "bible": {}}])
def test_a_source_has_exactly_one_reader(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="exactly one of files, beir"):
        SourceConfig.model_validate(given)


def test_a_link_keeps_its_name_which_tells_the_format(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "1"
    (snapshot / "qrels").mkdir(parents=True)
    blobs.mkdir()
    files = {
        "corpus.jsonl": '{"_id": "d", "text": "one"}\n',
        "queries.jsonl": '{"_id": "q", "text": "one?"}\n',
        "qrels/test.tsv": "query-id\tcorpus-id\tscore\nq\td\t1\n",
    }
    for number, (name, content) in enumerate(files.items()):
        (blobs / f"{number:x}").write_text(content)
        (snapshot / name).symlink_to(os.path.relpath(blobs / f"{number:x}", (snapshot / name).parent))
    (tmp_path / "latest").symlink_to(snapshot)
    folders = [str(snapshot), str(tmp_path / "latest"), f"{snapshot}/qrels/.."]
    for source in [{"beir": {"folder": folder}} for folder in folders]:
        rows = [row for task in read_tasks(SourceConfig.model_validate(source)) for _, row in task.read()]
        assert [type(row).__name__ for row in rows] == ["Document", "Query", "Qrel"]
    assert find(str(snapshot / "*.jsonl")) == [snapshot / "corpus.jsonl", snapshot / "queries.jsonl"]
    (blobs / "0").write_text(files["corpus.jsonl"] * 2)
    config = SourceConfig.model_validate({"files": {"documents": {"path": str(snapshot / "corpus.jsonl")}}})
    assert next(iter(fingerprint(config).values())).startswith(f"{2 * len(files['corpus.jsonl'])} bytes")


def test_a_format_is_told_by_a_name_in_capitals(tmp_path: Path) -> None:
    assert [format_of(tmp_path / name) for name in ("A.CSV", "B.JSONL.GZ", "c.Parquet")] == ["csv", "jsonl", "parquet"]
