"""Questions to learn from are never those that search is judged by, and held-out ones share nothing with the others."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from data.errors import InputError
from data.graph.split import SplitConfig, linked_ids, write_split
from data.partitions import partition_name, write_partition
from data.schema import DOCUMENTS, LINKS, QRELS, QUERIES
from data.sources.beir import BeirSource
from training.cross_encoder.config import RankerConfig
from training.cross_encoder.questions import Question, gather, made_questions
from training.encoders.examples import Corpus

DOCUMENTS_ = [
    {
        "id": f"d{n}",
        "title": f"Title {n}",
        "text": f"The first sentence of document {n} is here. And a second one of document {n} stands behind it.",
    }
    for n in range(60)
]
ASKED = [{"id": f"q{n}", "text": f"question {n}"} for n in range(40)]
JUDGED = [{"query_id": f"q{n}", "document_id": f"d{n}", "score": 1} for n in range(40)]
LINKED = [
    {"source": f"d{a}", "target": f"d{(a + step) % 60}", "relation": "r", "weight": 1.0}
    for a in range(60)
    for step in (1, 2)
]


def corpus(root: Path, asked: bool = True, links: bool = True) -> Corpus:
    rows: dict[str, tuple[pa.Schema, list[dict[str, Any]]]] = {
        "documents": (DOCUMENTS, DOCUMENTS_),
        "queries": (QUERIES, ASKED if asked else []),
        "qrels": (QRELS, JUDGED if asked else []),
        "links": (LINKS, LINKED if links else []),
    }
    for name, (schema, table) in rows.items():
        (root / name).mkdir(parents=True)
        write_partition(pa.Table.from_pylist(table, schema), root / name / partition_name(0))
    (root / "split").mkdir()
    write_split(root / "documents", root / "links", SplitConfig(), root / "split")
    return Corpus(root / "documents", root, root / "split")


def beir(folder: Path, questions: dict[str, str], judged: dict[str, str]) -> BeirSource:
    (folder / "qrels").mkdir(parents=True)
    lines = [json.dumps({"_id": id_, "text": text}) for id_, text in questions.items()]
    (folder / "queries.jsonl").write_text("\n".join(lines) + "\n")
    rows = [f"{question}\t{document}\t1" for question, document in judged.items()]
    (folder / "qrels" / "train.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]) + "\n")
    return BeirSource(folder=str(folder), split="train")


def parts(questions: list[Question]) -> tuple[set[str], set[str]]:
    """Texts of training questions and of held-out ones."""
    return {one.text for one in questions if not one.valid}, {one.text for one in questions if one.valid}


def test_judgments_for_training_are_taken_but_for_questions_that_search_is_judged_by(tmp_path: Path) -> None:
    questions = {f"t{n}": f"training question {n}" for n in range(50)} | {"q3": "another text", "t50": "Question  7 "}
    judged = {id_: f"d{n % 60}" for n, id_ in enumerate(questions)}
    found, source = gather(corpus(tmp_path / "c"), RankerConfig(), beir(tmp_path / "b", questions, judged))
    train, valid = parts(found)
    assert source == "judgments of split train" and train.isdisjoint(valid)
    assert train | valid == {f"training question {n}" for n in range(50)}
    assert 1 <= len(valid) <= 20
    assert all(one.relevant == {judged[f"t{one.text.split()[-1]}"]: 1} for one in found)


def test_of_a_corpus_without_such_a_share_of_its_own_is_taken(tmp_path: Path) -> None:
    made = corpus(tmp_path)
    found, source = gather(made, RankerConfig(learn_share=0.6), None)
    train, valid = parts(found)
    assert source == "60% of the run's own questions" and train.isdisjoint(valid)
    assert 15 <= len(train | valid) <= 33 < len(ASKED)
    assert gather(made, RankerConfig(learn_share=0.6), None)[0] == found, "the same whenever it is asked for"
    other = RankerConfig.model_validate({"learn_share": 0.6, "optimizer": {"seed": 5}})
    assert parts(gather(made, other, None)[0]) != (train, valid)
    assert len(gather(made, RankerConfig(learn_share=0.6, max_questions=9), None)[0]) == 9


def test_training_links_ask_by_titles_and_held_out_documents_are_in_none_of_the_others(tmp_path: Path) -> None:
    made = corpus(tmp_path, asked=False)
    assert made.split is not None
    found, source = gather(made, RankerConfig(), None)
    train_links = {frozenset(pair) for pair in linked_ids(made.split, "train")}
    assert source == "training links" and all(one.text.startswith("Title ") for one in found)
    held = {f"d{one.text.split()[1]}" for one in found if one.valid}
    for one in found:
        id_ = f"d{one.text.split()[1]}"
        assert {frozenset((id_, other)) for other in one.relevant} <= train_links
        assert id_ in one.left_out and one.left_out.isdisjoint(one.relevant)
        if not one.valid:
            assert held.isdisjoint(one.relevant), "a link with a held-out document would be known"
    asked_for = {frozenset((f"d{one.text.split()[1]}", other)) for one in found for other in one.left_out}
    assert asked_for.isdisjoint({frozenset(pair) for pair in linked_ids(made.split, "test")}), "see decision 008"
    assert gather(corpus(tmp_path / "both"), RankerConfig(learn_from="links"), None)[1] == "training links"


def test_a_sentence_asks_for_the_document_that_lacks_it_then(tmp_path: Path) -> None:
    made = made_questions(corpus(tmp_path), RankerConfig(made_questions=20))
    assert len(made) == 20 and len({one.text for one in made}) == 20
    for one in made:
        ((id_, text),) = one.instead.items()
        assert one.relevant == {id_: 1} and not one.valid
        assert one.text not in text and text.startswith("Title ") and len(one.text) >= 40


@pytest.mark.parametrize(
    ("asked", "links", "config", "problem"),
    [
        (False, False, {}, "the corpus has neither answered questions nor training links"),
        (False, True, {"learn_from": "qrels"}, "the corpus has no qrels to learn from"),
        (True, False, {"learn_from": "links"}, "the corpus has no links to learn from"),
        (True, False, {"max_questions": 2, "valid_share": 0.01}, "give 2 questions to train on and 0 to validate with"),
    ],
)
def test_too_little_is_refused(
    tmp_path: Path, asked: bool, links: bool, config: dict[str, object], problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        gather(corpus(tmp_path, asked, links), RankerConfig.model_validate(config), None)
