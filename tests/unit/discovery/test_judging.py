"""Samples to judge, what becomes of the verdicts, words that texts share, and the best of every document."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data.errors import InputError
from data.partitions import partitions, read_table, write_partition
from data.schema import DOCUMENTS
from data.sources import SourceConfig, fingerprint, read_tasks
from data.sources.judgements import NOT_LINKED, OPEN, judged_not
from data.sources.rows import Link, Reject, Skipped
from data.spread import here
from discovery.by_document import BY_DOCUMENT, write_by_document
from discovery.config import DiscoverConfig
from discovery.judging import samples, write_samples
from discovery.proposals import reason
from discovery.select import Held, score_of
from discovery.shards import SCORED, Source
from discovery.texts import shared_words, texts_of
from evaluation.calibration import Calibrator

ROWS = [
    {
        "source": f"s{n}",
        "target": f"t,{n}",
        "relation": "cites",
        "probability": 0.9 / n,
        "source_label": f"<S{n}>",
        "target_label": f"T{n}",
        "reason": "No neighbour in common.",
    }
    for n in range(1, 5)
]


def test_samples_come_from_the_whole_range() -> None:
    drawn = samples(1000, 10, seed=0)
    assert len(drawn) == 10
    assert (drawn // 100).tolist() == list(range(10))
    assert samples(3, 10, seed=0).tolist() == [0, 1, 2]
    assert samples(0, 10, seed=0).tolist() == []


def judged(tmp_path: Path, verdicts: list[str]) -> Path:
    """The file to fill in, filled in."""
    write_samples(ROWS, {}, tmp_path)
    with (tmp_path / "judge.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["verdict"] for row in rows] == [""] * 4
    path = tmp_path / "judged.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows({**row, "verdict": verdict} for row, verdict in zip(rows, verdicts, strict=True))
    return path


def source_of(tmp_path: Path, *judgements: Path) -> SourceConfig:
    (tmp_path / "g.txt").write_text("a b\n")
    graph = {"graph": {"links": [str(tmp_path / "g.txt")]}, "judgements": [str(path) for path in judgements]}
    return SourceConfig.model_validate(graph)


def test_verdicts_become_links_and_pairs_that_are_not_proposed_again(tmp_path: Path) -> None:
    path = judged(tmp_path, ["yes", " No ", "", "perhaps"])
    source = source_of(tmp_path, path)
    rows: list[Any] = [row for _, row in read_tasks(source)[-1].read()]
    assert rows[:3] == [Link("s1", "t,1", "cites"), Skipped(NOT_LINKED), Skipped(OPEN)]
    assert isinstance(rows[3], Reject) and rows[3].reason == "'verdict' 'perhaps' is neither yes nor no"
    assert list(judged_not([str(path)])) == [("s2", "t,2")]
    before = fingerprint(source)
    path.write_text(path.read_text().replace("perhaps", "yes"))
    assert fingerprint(source) != before


def test_a_file_without_verdicts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "j.csv").write_text("source,target,relation,verdicts\n")
    with pytest.raises(InputError, match=r"j\.csv: no column 'verdict'") as error:
        read_tasks(source_of(tmp_path, tmp_path / "j.csv"))
    assert "'verdicts'" in error.value.remedy


def test_the_page_shows_texts_and_escapes_them(tmp_path: Path) -> None:
    write_samples(ROWS, {"s1": "a <b> " + "word " * 200}, tmp_path)
    html = (tmp_path / "judge.html").read_text(encoding="utf-8")
    assert "a &lt;b&gt; word" in html and "word …" in html and "<script" not in html
    assert "&lt;S4&gt;" in html and html.count('class="sides"') == 4


def test_texts_are_read_by_id_and_share_their_rarest_words(tmp_path: Path) -> None:
    texts = [
        "The ark of the covenant, carried by priests",
        "Priests and the covenant of salt",
        "A king and priests",
        "priests again",
    ]
    rows = [{"id": f"d{n}", "title": f"Text {n}", "text": text} for n, text in enumerate(texts)]
    write_partition(pa.Table.from_pylist(rows, schema=DOCUMENTS), tmp_path / "part-00000.parquet")
    found = texts_of(tmp_path, ["d0", "d1", "d3", "missing"])
    assert set(found) == {"d0", "d1", "d3"} and found["d1"].startswith("Priests")
    assert shared_words(found, [("d0", "d1"), ("d0", "d3"), ("d0", "missing")]) == [["covenant"], [], []]


def test_words_of_any_script_are_told_from_numbers_and_initials() -> None:
    texts = {"a": "1984 x3 of J. नमस्ते 書物 ark", "b": "1984 x3 of J. नमस्ते 書物 ark", "c": "other"}
    (shared,) = shared_words(texts, [("a", "b")])
    assert set(shared) == {"नमस्ते", "書物", "ark"}


def test_reasons_name_the_words_and_what_there_is_of_texts() -> None:
    assert (
        reason(0.7, 0, [], ["walks"], ["ark", "salt"])
        == "No neighbour in common; both have “ark” and “salt”; text similarity 0.70; met by walks over the links."
    )
    assert reason(None, 1, ["A"], ["two_hop", "walks"]) == "Both are linked with “A”."


class Scorer:
    """Names a relation by the direction; scores nothing."""

    relation_names = ("up", "down")
    node_vectors = np.zeros((6, 1), np.float32)

    def score_pairs(self, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
        raise AssertionError("all is scored")

    def relations(self, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return (sources > targets).astype(np.int64)


class Ids:
    """Of a graph, the ids alone."""

    ids = tuple("abcdef")


def test_each_document_gets_its_best(tmp_path: Path) -> None:
    pairs = np.array(
        [
            (0, 1, 3, 1, 1),
            (0, 2, 5, 5, 3),
            (0, 5, 9, 9, 1),  # held
            (1, 4, 1, 2, 4),
            (2, 5, 4, 6, 8),
            (3, 5, 7, 7, 16),
        ],
        SCORED,
    )
    files = []
    for number in range(3):
        files.append(tmp_path / f"{number}.npy")
        np.save(files[-1], pairs[(pairs["low"] // 2) == number])
    none = np.empty(0, np.int64)
    config = DiscoverConfig(per_document=2, shard_documents=2)
    calibrator = Calibrator("platt", np.empty(0), np.empty(0), 1.0, 0.0)
    source = Source(lambda: Ids(), lambda: Scorer())  # type: ignore[arg-type,return-value]
    write_by_document(source, Held(none, np.array([5]), none), files, config, calibrator, tmp_path / "out", here)
    table = read_table(tmp_path / "out")
    assert table.schema.equals(BY_DOCUMENT) and len(partitions(tmp_path / "out")) == 3
    listed = [(row["document"], row["rank"], row["other"]) for row in table.to_pylist()]
    assert listed == [
        ("a", 1, "c"), ("a", 2, "b"), ("b", 1, "a"), ("b", 2, "e"), ("c", 1, "a"), ("c", 2, "f"), ("d", 1, "f"),
        ("e", 1, "b"), ("f", 1, "d"), ("f", 2, "c"),
    ]  # fmt: skip
    best = {(row["document"], row["other"]): row for row in table.to_pylist()}
    assert best["b", "e"]["outgoing"] is False and best["e", "b"]["outgoing"] is True  # backward is likelier
    assert best["e", "b"]["relation"] == "down" and best["a", "c"]["relation"] == "up"
    assert best["a", "c"]["candidate_sources"] == ["text", "model"]
    assert best["a", "c"]["score"] == score_of(pairs)[1] == 5.0
