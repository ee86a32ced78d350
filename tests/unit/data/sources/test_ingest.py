"""Ingest in this process: what it does with whole corpora; ``tests/ray`` has it on Ray, interrupted and strict."""

from pathlib import Path

import pytest

from data.errors import InputError
from data.partitions import read_table
from data.sources import SourceConfig
from data.sources.ingest import ingest
from data.spread import here


def corpus(folder: Path, documents: str) -> SourceConfig:
    """A corpus in a file."""
    (folder / "documents.jsonl").write_text(documents)
    return SourceConfig.model_validate({"files": {"documents": {"path": str(folder / "documents.jsonl")}}})


GOOD = '{"id": "a", "text": "one"}\n{"id": "b", "text": "two"}\n{"id": "c", "text": "three"}\n'


def test_a_quoted_tsv_and_documents_without_text_are_said_in_the_result(tmp_path: Path) -> None:
    source = tmp_path / "d.tsv"
    source.write_text('"id"\t"title"\t"text"\n"a"\t"A"\t"one"\n"b"\t"B"\t""\n')
    result = ingest(
        SourceConfig.model_validate({"files": {"documents": {"path": str(source)}}}), tmp_path / "out", here
    )
    assert (result["documents"], result["without_text"]) == (2, 1)
    assert result["notes"] == [f"{source}: TSV with fields in quotes, read without the quotes"]


def test_a_corpus_without_links(tmp_path: Path) -> None:
    result = ingest(corpus(tmp_path, GOOD), tmp_path / "out", here)
    assert (result["documents"], result["links"]) == (3, 0)
    assert read_table(tmp_path / "out" / "links").num_rows == 0


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ("", r"no documents in .*documents\.jsonl"),
        ("no json\n", r"no documents .*; 1 rejected, the first: .*line 1: not JSON"),
    ],
)
def test_an_empty_corpus_is_an_error(tmp_path: Path, documents: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ingest(corpus(tmp_path, documents), tmp_path / "out", here)


def test_the_same_error_ends_it_as_on_ray(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"1 records lack .* 'text' is missing"):
        ingest(corpus(tmp_path, '{"id": "a", "body": "one"}\n'), tmp_path / "out", here)
