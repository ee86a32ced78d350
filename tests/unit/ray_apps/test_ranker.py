"""The stage ranker: off it changes no key; on, evaluation takes what it has made, and a service its folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from data.artifacts import materialise
from data.errors import InputError
from evaluation.config import SearchJudging
from evaluation.retrieval import evaluate_retrieval
from ray_apps.config import load_run
from ray_apps.evaluate_search import _reranked
from ray_apps.plan import Plan
from ray_apps.ranker import RankerResult, ranker_folder, served_ranker
from retrieval.hits import SearchHit
from retrieval.steps import RERANKED
from tests.run_files import changed, keys_of, write_run

ON = ["--ranker.model", "trained"]


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    """A BEIR folder with judgments for training beside those for the test."""
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text('{"_id": "d1", "title": "T", "text": "one"}\n')
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "one?"}\n{"_id": "q2", "text": "two?"}\n')
    for split, question in (("test", "q1"), ("train", "q2")):
        (folder / "qrels" / f"{split}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{question}\td1\t1\n")
    return write_run(tmp_path, source={"beir": {"folder": str(folder)}})


def test_switched_off_it_changes_no_other_key(run_file: Path) -> None:
    plain = load_run(run_file)
    assert changed(plain, load_run(run_file, ["--ranker.list-documents", "4"])) == {"ranker"}
    assert changed(plain, load_run(run_file, ["--ranker.depth", "9"])) == {"ranker"}
    assert "ranker" not in Plan(plain).names() and "ranker" not in Plan(plain).stages["evaluate_search"].needs(
        Plan(plain)
    )


def test_evaluation_is_made_of_it_and_nothing_else_is(run_file: Path, tmp_path: Path) -> None:
    off, on = load_run(run_file), load_run(run_file, ON)
    assert changed(off, on) == {"evaluate_search"}
    assert changed(on, load_run(run_file, [*ON, "--ranker.head-rate", "2"])) == {"ranker", "evaluate_search"}
    plan = Plan(on)
    names = plan.names()
    assert names.index("index") < names.index("ranker") < names.index("evaluate_search")
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "weights").write_text("1")
    named = load_run(run_file, ["--ranker.model", str(folder)])
    assert changed(off, named) == {"evaluate_search"} and "ranker" not in Plan(named).names()
    before = keys_of(named)
    (folder / "weights").write_text("2")
    assert keys_of(named)["evaluate_search"] != before["evaluate_search"]
    assert ranker_folder(named.ranker.model, {}) == str(folder) and ranker_folder(None, {}) is None


def test_judgments_for_training_decide_it_and_their_absence_leaves_the_runs_own(run_file: Path) -> None:
    run = load_run(run_file)
    config: Any = Plan(run).stages["ranker"].config(Plan(run))
    assert config.training.split == "train"
    before = keys_of(run)["ranker"]
    qrels = run_file.parent / "beir" / "qrels"
    (qrels / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq2\td1\t1\nq2\td2\t1\n")
    assert keys_of(run)["ranker"] != before
    for flags in (["--ranker.split", "dev"], ["--source.beir.split", "train"]):
        other = Plan(load_run(run_file, flags))
        assert other.stages["ranker"].config(other).training is None


def test_a_service_takes_the_trained_folder_and_makes_none_itself(run_file: Path) -> None:
    run = load_run(run_file, ["--serve.ranker", "trained"])
    plan = Plan(run)
    assert "ranker" in plan.names()
    with pytest.raises(InputError, match=r"serve\.ranker: trained, and there is no trained ranker at ") as error:
        served_ranker(plan)
    assert "catena ranker train" in error.value.remedy
    result = RankerResult(
        learned_from="links",
        training_questions=2,
        valid_questions=1,
        made_questions=0,
        too_long=0,
        ndcg={},
        compared={},
        beats=True,
        weight=0.0,
        best_epoch=1,
        history=[],
        model="",
    )
    made = materialise(plan.artifact("ranker"), lambda out: result)
    assert served_ranker(plan) == str(made.path / "trained")
    assert served_ranker(Plan(load_run(run_file))) is None
    assert served_ranker(Plan(load_run(run_file, ["--serve.ranker", "org/name"]))) == "org/name"


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--ranker.spread.strategy", "fsdp"], "a cross-encoder is trained on replicas"),
        (["--ranker.learn-from", "qrel"], r"ranker\.learn_from: .*'qrels'"),
        (["--ranker.list-documents", "1"], r"ranker\.list_documents"),
        (["--ranker.dept", "5"], "--ranker.depth"),
    ],
)
def test_a_wrong_value_names_its_key(run_file: Path, flags: list[str], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        load_run(run_file, flags)


def test_a_base_that_is_not_there_is_refused_before_anything_is_made(run_file: Path) -> None:
    run = load_run(run_file, ["--ranker.base", "/no/such/folder"])
    with pytest.raises(InputError, match=r"ranker\.base: no model folder at /no/such/folder"):
        Plan(run).bring("ranker")
    assert not Plan(run).artifact("ingest").done
    assert json.loads(json.dumps(run.model_dump(mode="json")))["ranker"]["base"] == "/no/such/folder"


def test_the_ranker_is_told_beside_hybrid_search_with_the_paired_test() -> None:
    def search(texts: Sequence[str], pipeline: str, top_k: int) -> list[list[SearchHit]]:
        answers = []
        for text in texts:
            n = int(text)
            ranked = [f"d{n + 1}", f"d{n}"] if pipeline == "hybrid" else [f"d{n}", f"d{n + 1}"]
            answers.append([SearchHit(id_, id_, id_, "", 0, 0, 1.0, {}) for id_ in ranked])
        return answers

    queries, qrels = {f"q{n}": str(n) for n in range(30)}, {f"q{n}": {f"d{n}": 1} for n in range(30)}
    pipelines = ("bm25", "hybrid", RERANKED)
    figures, details = evaluate_retrieval(search, queries, qrels, SearchJudging(resamples=200), pipelines)
    told = _reranked(details, figures)
    assert told.startswith("ndcg@10 1.0000 reranked, 0.6309 hybrid: +58.5%, p = 0.00")
    assert set(details["losses"]) == set(pipelines) == set(details["milliseconds"])
