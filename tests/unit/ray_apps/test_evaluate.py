"""Evaluation, discovery and the report of a run whose earlier artifacts are there; no cluster is needed."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data.artifacts import materialise
from data.encoders.config import TransformerConfig
from data.errors import InputError
from data.graph.split import linked_ids
from data.partitions import write_partition
from data.schema import DOCUMENTS, LINKS, QRELS, QUERIES
from ray_apps.command import Command
from ray_apps.config import RunConfig
from ray_apps.discover import COMMAND as DISCOVER
from ray_apps.evaluate import COMMAND as EVALUATE
from ray_apps.evaluate_search import _seen_questions
from ray_apps.plan import Plan
from ray_apps.report import report_folder
from tests.results import AnyResult
from training.encoders.seen import keep_marks, pair_marks

GROUPS, SIZE, DIM = 12, 10, 16


@pytest.fixture
def run(tmp_path: Path, workspace: Path) -> RunConfig:
    """A run on a source file that exists; its tables are written by the tests."""
    (tmp_path / "documents.jsonl").write_text('{"id": "a", "text": "b"}\n')
    return RunConfig.model_validate(
        {
            "name": "small",
            "workspace": workspace,
            "source": {"files": {"documents": {"path": str(tmp_path / "documents.jsonl")}}},
            "evaluate": {"resamples": 200, "max_test_links": 20},
            "discover": {"keep": 30},
        }
    )


def write_tables(run: RunConfig, links: list[tuple[str, str]]) -> None:
    documents = [{"id": f"d{n}", "title": f"Document {n}", "text": f"text {n}"} for n in range(GROUPS * SIZE)]
    rows = [{"source": u, "target": v, "relation": "refers", "weight": 1.0} for u, v in links]

    def work(out: Path) -> AnyResult:
        for name, table in {
            "documents": pa.Table.from_pylist(documents, schema=DOCUMENTS),
            "links": pa.Table.from_pylist(rows, schema=LINKS),
            "queries": QUERIES.empty_table(),
            "qrels": QRELS.empty_table(),
        }.items():
            (out / name).mkdir(exist_ok=True)
            write_partition(table, out / name / "part-00000.parquet")
        return AnyResult(documents=len(documents), links=len(rows), queries=0, qrels=0)

    materialise(Plan(run).artifact("ingest"), work)


def write_graph_and_model(run: RunConfig) -> None:
    """Vectors and links in groups, and a link model with random weights."""
    from data.graph.graph import load_graph
    from training.links.config import NodesConfig
    from training.links.nodes import LinkModel, Shape, save_model
    from training.links.scorer import PairScorer, ScorerShape
    from training.links.stacking import SCORERS
    from training.links.states import NODE_VECTORS, states_of

    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(GROUPS), SIZE)
    vectors = (rng.normal(size=(GROUPS, DIM))[group] + 0.5 * rng.normal(size=(len(group), DIM))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    plan = Plan(run)
    embedded = plan.artifact("embed").path / "vectors"
    embedded.mkdir(parents=True)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIM)
    ids = pa.array([f"d{n}" for n in range(len(group))])
    write_partition(pa.table({"document_id": ids, "vector": column}), embedded / "part-00000.parquet")
    (embedded.parent / "_SUCCESS").touch()
    (embedded.parent / "result.json").write_text('{"seconds": 1.0, "passages": 120}')

    def fitted(out: Path) -> AnyResult:
        config = NodesConfig(width=8, words=0, word_table=False, table=False)
        shape = Shape(nodes=len(group), text=DIM, words=0, terms=0, relations=("refers",), config=config)
        model = LinkModel(shape)
        save_model(model, out / "model.safetensors")
        if plan.artifact("graph").done:
            np.save(out / NODE_VECTORS, states_of(model, load_graph(plan.artifact("graph").path)))
        for name, features in SCORERS.items():
            PairScorer(ScorerShape(features=features, units=4, members=1)).save(out / f"{name}.scorer.safetensors")
        return AnyResult(history=[{"epoch": 1, "loss": 3.0, "valid_mrr": 0.2, "seconds": 1.0}])

    plan.bring("split")
    if min(plan.artifact("split").result[part] for part in ("train", "valid", "test")):
        plan.bring("graph")
    materialise(plan.artifact("train"), fitted)


def links_in_groups() -> list[tuple[str, str]]:
    rng = np.random.default_rng(1)
    u, v = np.triu_indices(GROUPS * SIZE, 1)
    linked = (u // SIZE == v // SIZE) & (rng.random(len(u)) < 0.5)
    return [(f"d{a}", f"d{b}") for a, b in zip(u[linked], v[linked], strict=True)]


def call(command: Command, run: RunConfig, *words: str) -> dict[str, Any]:
    """What a command returns for a run."""
    assert command.call is not None
    return dict(command.call(Plan(run), command.parser().parse_args(["run.yaml", *words])))


def report(run: RunConfig) -> dict[str, Any]:
    return dict(json.loads((report_folder(run) / "report.json").read_text(encoding="utf-8")))


def test_a_corpus_without_questions_and_links_says_so(run: RunConfig) -> None:
    write_tables(run, [])
    result = call(EVALUATE, run)
    assert result["retrieval"] == result["links"] == {}
    missing = report(run)["missing"]
    assert "no questions" in missing["retrieval"] and "no links" in missing["links"]
    page = (report_folder(run) / "report.html").read_text(encoding="utf-8")
    assert result["report"] == str(report_folder(run) / "report.html")
    assert "no questions" in page and "No missing links are proposed" in page


def test_discovery_without_links_names_the_remedy(run: RunConfig) -> None:
    write_tables(run, [])
    with pytest.raises(InputError, match="no links") as caught:
        Plan(run).bring("discover")
    assert "links table" in caught.value.remedy


def test_a_corpus_with_too_few_links_to_hold_any_out_is_judged_without_a_model(run: RunConfig) -> None:
    write_tables(run, [("d0", "d1"), ("d1", "d2"), ("d3", "d4")])
    write_graph_and_model(run)
    assert call(EVALUATE, run)["links"] == {}
    assert "too few links (3)" in report(run)["missing"]["links"]
    with pytest.raises(InputError, match="none is left for valid and test"):
        Plan(run).bring("discover")


def test_model_and_all_baselines_stand_in_one_table_and_proposals_join_the_report(run: RunConfig) -> None:
    write_tables(run, links_in_groups())
    write_graph_and_model(run)
    table = call(EVALUATE, run)["links"]
    assert set(table) == {
        "model",
        "feature_mlp",
        "cosine",
        "common_neighbours",
        "adamic_adar",
        "resource_allocation",
        "random_projection",
        "katz",
        "personalised_pagerank",
        "node2vec",
    }
    assert all({"mrr", "hit@10", "hit@100"} <= set(figures) for figures in table.values())
    assert all({"heart_mrr", "auc", "ap", "ece", "brier"} <= set(figures) for figures in table.values())
    assert (Plan(run).artifact("evaluate_links").path / "ranks.npz").exists()
    assert table["cosine"]["mrr"] > 0.3  # groups of ten are easy
    assert report(run)["details"]["links"]["test_links"] == 20
    assert report(run)["links"] == table and "proposals" not in report(run)
    before = checksums(run)

    proposed = call(DISCOVER, run, "--top", "5")
    assert len(proposed["proposals"]) == 5 and proposed["discover"]["kept"] == 30
    assert report(run)["proposals"][:5] == proposed["proposals"]
    page = (report_folder(run) / "report.html").read_text(encoding="utf-8").replace("&amp;", "&")
    assert proposed["proposals"][0]["reason"] in page
    one = proposed["proposals"][0]
    of_one = call(DISCOVER, run, "--document", one["source"])["proposals"]
    assert one in of_one and all(one["source"] in (row["source"], row["target"]) for row in of_one)
    with pytest.raises(InputError, match="no document 'd1000'"):
        call(DISCOVER, run, "--document", "d1000")
    assert before.items() <= checksums(run).items()  # a finished artifact is never written again


def test_an_encoder_that_has_seen_held_out_links_is_refused(run: RunConfig, tmp_path: Path) -> None:
    model = tmp_path / "tuned"
    model.mkdir()
    write_tables(run, links_in_groups())
    links = dict(linked_ids(Plan(run).bring("split").path, "test"))
    text = {f"d{n}": f"Document {n}\ntext {n}" for n in range(GROUPS * SIZE)}
    marks = pair_marks([text[source] for source in links], [text[target] for target in links.values()])
    keep_marks(marks[:3], model)
    tuned = run.model_copy(update={"encoder": TransformerConfig(model=str(model))})
    embedded = Plan(tuned).artifact("embed").path
    (embedded / "vectors").mkdir(parents=True)
    (embedded / "result.json").write_text("{}")
    (embedded / "_SUCCESS").touch()
    with pytest.raises(InputError, match=r"tuned was fine-tuned on 3 of the [\d,]+ held-out links of this run"):
        Plan(tuned).bring("graph")


def test_questions_whose_answers_an_encoder_has_seen_are_told_apart(run: RunConfig, tmp_path: Path) -> None:
    model = tmp_path / "tuned"
    model.mkdir()
    write_tables(run, [])
    documents = Plan(run).bring("ingest").path / "documents"
    asked, qrels = (
        {"q1": "one?", "q2": "two?", "q3": "3?"},
        {"q1": {"d1": 1}, "q2": {"d2": 1, "d3": 0}, "q3": {"d9": 1}},
    )
    keep_marks(pair_marks(["one?", "two?"], ["Document 1\ntext 1", "Document 3\ntext 3"]), model)
    assert _seen_questions(TransformerConfig(model=str(model)), documents, asked, qrels) == {"q1"}
    assert _seen_questions(TransformerConfig(), documents, asked, qrels) == set()


def checksums(run: RunConfig) -> dict[str, tuple[int, str]]:
    """Modification time and digest of every file of a finished artifact."""
    finished = [marker.parent for marker in run.workspace.glob("*/*/_SUCCESS")]
    files = [file for folder in finished for file in folder.rglob("*") if file.is_file()]
    return {str(file): (file.stat().st_mtime_ns, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files}
