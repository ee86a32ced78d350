"""Where files lie, and what is said where they do not."""

import os
from pathlib import Path

import pytest

from data.errors import InputError
from data.sources import SourceConfig, fingerprint
from data.sources.paths import expand, find


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
