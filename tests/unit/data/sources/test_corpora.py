"""The published corpora that have a reader of their own, and small ones in their formats."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from data.errors import InputError
from data.sources import SourceConfig, read_tasks
from data.sources.beir import BeirSource
from data.sources.rows import Document, Link, Qrel, Query, Reject, Skipped


def read(**source: object) -> list[Any]:
    return [row for task in read_tasks(SourceConfig.model_validate(source)) for _, row in task.read()]


def kinds(rows: list[Any]) -> Counter[str]:
    return Counter(row.kind if isinstance(row, Skipped) else type(row).__name__ for row in rows)


def beir(folder: Path) -> Path:
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text('{"_id": "d1", "title": "T", "text": "one", "metadata": {"url": "u"}}\n')
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "one?"}\n{"_id": "q2", "text": "two?"}\n')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq2\td1\t2\n")
    return folder


def test_a_beir_folder_and_its_splits(tmp_path: Path) -> None:
    folder = str(beir(tmp_path / "b"))
    rows = read(beir={"folder": folder})
    assert rows == [
        Document("d1", "T", "one", {"url": "u"}),
        Query("q1", "one?"),
        Skipped("queries without a judgment in the split"),
        Qrel("q1", "d1", 1),
    ]
    assert Qrel("q2", "d1", 2) in read(beir={"folder": folder, "split": "train"})
    assert kinds(read(beir={"folder": folder, "queries": "all"}))["Query"] == 2


def test_judgments_of_another_split_are_read_by_themselves(tmp_path: Path) -> None:
    source = BeirSource(folder=str(beir(tmp_path / "b")))
    assert source.has_split("train") and not source.has_split("dev")
    assert source.questions("train") == ({"q2": "two?"}, {"q2": {"d1": 2}})


def test_a_misspelt_split_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"qrels/tset\.tsv") as error:
        read(beir={"folder": str(beir(tmp_path / "b")), "split": "tset"})
    assert "'test.tsv'" in error.value.remedy


def test_a_beir_folder_without_questions(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "title": "", "text": "one"}\n')
    assert read(beir={"folder": str(tmp_path)}) == [Document("d1", "", "one")]


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("scifact", {"Document": 5183, "Query": 300, "Qrel": 339}),
        ("cranfield", {"Document": 1398, "Reject": 2, "Query": 225, "Qrel": 1612}),  # two documents are empty
        ("heq", {"Document": 477, "Query": 2130, "Qrel": 2130}),
    ],
)
def test_published_beir_folders(data_root: Path, name: str, counted: dict[str, int]) -> None:
    found = kinds(read(beir={"folder": str(data_root / name)}))
    assert {kind: found[kind] for kind in counted} == counted


@pytest.fixture
def bible(tmp_path: Path) -> dict[str, str]:
    verse = '{"id": "Gen.1.%d", "book": "Genesis", "testament": "OT", "chapter": 1, "verse": %d, "text": "text %d"}\n'
    (tmp_path / "verses.jsonl").write_text("".join(verse % (n, n, n) for n in range(1, 6)))
    references = [
        "Gen.1.1\tGen.1.2\t\t5", "Gen.1.1\tGen.1.3\tGen.1.5\t4", "Gen.1.2\tGen.1.3\t\t-1",
        "Gen.1.2\tGen.1.9\tGen.1.10\t3",
        "Gen.1.2\tGen.1.4\tGen.1.3\t3", "Gen.1.5\tGen.1.1\t\tmany",
    ]  # fmt: skip
    (tmp_path / "crossrefs.tsv").write_text("source\ttarget\ttarget_end\tvotes\n" + "\n".join(references) + "\n")
    return {"verses": str(tmp_path / "verses.jsonl"), "crossrefs": str(tmp_path / "crossrefs.tsv")}


def test_verses_are_titled_as_people_cite_them(bible: dict[str, str]) -> None:
    first = read(bible=bible)[0]
    assert (first.id, first.title, first.text) == ("Gen.1.1", "Genesis 1:1", "text 1")
    assert first.metadata == {"book": "Genesis", "testament": "OT", "chapter": 1, "verse": 1}


def test_ranges_are_skipped_expanded_or_linked_by_their_first_verse(bible: dict[str, str]) -> None:
    def ends(ranges: str) -> list[str]:
        rows = read(bible={**bible, "ranges": ranges})
        return [f"{row.source[-1]}-{row.target[6:]}" for row in rows if isinstance(row, Link)]

    assert ends("skip") == ["1-2"]
    assert ends("expand") == ["1-2", "1-3", "1-4", "1-5"]
    assert ends("first") == ["1-2", "1-3", "2-9", "2-4"]


def test_references_that_cannot_be_used_are_rejected_and_few_votes_skipped(bible: dict[str, str]) -> None:
    rows = read(bible={**bible, "ranges": "expand"})
    assert [row.reason for row in rows if isinstance(row, Reject)] == [
        "link to unknown document 'Gen.1.9'",
        "a range that ends before it begins: Gen.1.4-Gen.1.3",
        "'votes' is not a number: 'many'",
    ]
    assert kinds(rows)["references with too few votes"] == 1
    assert Link("Gen.1.2", "Gen.1.3", "cross_reference", -1.0) in read(bible={**bible, "min_votes": -5})


def test_the_king_james_bible(data_root: Path) -> None:
    folder = data_root / "bible"
    found = kinds(
        read(bible={"verses": str(folder / "verses.jsonl.gz"), "crossrefs": str(folder / "crossrefs.tsv.gz")})
    )
    assert found["Document"] == 31_102
    assert found["Link"] == 253_865
    assert found["references with too few votes"] + found["references to a range"] == 344_799 - 253_865


def test_triples(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("a\t_is\tb\nb\t_is\n")
    (tmp_path / "e.txt").write_text('a\tdog, a domestic "animal"\nb\tanimal\n')
    (tmp_path / "r.txt").write_text("_is\tis a kind of\n")
    files = {
        "triples": [str(tmp_path / "t.tsv")],
        "texts": str(tmp_path / "e.txt"),
        "relations": str(tmp_path / "r.txt"),
    }
    rows = read(triples=files)
    assert rows[:3] == [
        Document("a", "dog", 'a domestic "animal"'),
        Document("b", "animal", "animal"),
        Link("a", "b", "is a kind of"),
    ]
    assert rows[3].reason == "2 fields, 3 expected"


def test_entities_with_names(tmp_path: Path) -> None:
    for name, content in (("t", "a\tis\tb\n"), ("e", "a\tA dog, they say, barks.\nb\tan animal\n"), ("n", "a\tdog\n")):
        (tmp_path / name).write_text(content)
    rows = read(triples={"triples": [str(tmp_path / "t")], "names": str(tmp_path / "n"), "texts": str(tmp_path / "e")})
    assert rows[:2] == [Document("a", "dog", "A dog, they say, barks."), Document("b", "an animal", "an animal")]


def test_triples_with_an_official_split(tmp_path: Path) -> None:
    for name, line in (("t", "a\tis\tb"), ("v", "b\tis\tb"), ("s", "b\tis\ta"), ("e", "a\tx\nb\ty")):
        (tmp_path / name).write_text(line + "\n")
    files = {split: [str(tmp_path / name)] for split, name in (("train", "t"), ("valid", "v"), ("test", "s"))}
    rows = read(triples={**files, "texts": str(tmp_path / "e")})
    assert [(row.source, row.target, row.split) for row in rows[2:]] == [
        ("a", "b", "train"), ("b", "b", "valid"), ("b", "a", "test"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "give either triples, or train, valid and test"),
        ({"triples": ["t"], "train": ["t"]}, "not both"),
        ({"train": ["t"], "test": ["t"]}, "valid is missing"),
    ],
)
def test_triples_are_given_in_one_way(files: dict[str, list[str]], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        SourceConfig.model_validate({"triples": {**files, "texts": "e"}})


def test_the_umls_semantic_network(data_root: Path) -> None:
    folder = data_root / "kg" / "umls"
    triples = [str(folder / f"{split}.tsv") for split in ("train", "dev", "test")]
    rows = read(triples={"triples": triples, "texts": str(folder / "entity2textlong.txt")})
    assert kinds(rows) == {"Document": 135, "Link": 6529}
    assert len({row.relation for row in rows if isinstance(row, Link)}) == 46
