"""Evaluation, discovery and the report of a run whose earlier artifacts are there; no cluster is needed."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data.artifacts import materialise
from data.errors import InputError
from data.graph.graph import build_graph
from data.partitions import write_partition
from data.schema import DOCUMENTS, LINKS, QRELS, QUERIES
from ray_apps.config import RunConfig
from ray_apps.discover import best, discover
from ray_apps.evaluate import evaluate
from ray_apps.stages import artifact

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

    def work(out: Path) -> dict[str, int]:
        for name, table in {
            "documents": pa.Table.from_pylist(documents, schema=DOCUMENTS),
            "links": pa.Table.from_pylist(rows, schema=LINKS),
            "queries": QUERIES.empty_table(),
            "qrels": QRELS.empty_table(),
        }.items():
            (out / name).mkdir(exist_ok=True)
            write_partition(table, out / name / "part-00000.parquet")
        return {"documents": len(documents), "links": len(rows), "queries": 0, "qrels": 0}

    materialise(artifact(run, "ingest"), work)


def write_graph_and_model(run: RunConfig) -> None:
    """Vectors and links in groups, and a link model with random weights."""
    from training.checkpoint import save_model
    from training.links.model import LinkModel, ModelShape

    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(GROUPS), SIZE)
    vectors = (rng.normal(size=(GROUPS, DIM))[group] + 0.5 * rng.normal(size=(len(group), DIM))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    embedded = artifact(run, "embed").path / "vectors"
    embedded.mkdir(parents=True)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIM)
    ids = pa.array([f"d{n}" for n in range(len(group))])
    write_partition(pa.table({"document_id": ids, "vector": column}), embedded / "part-00000.parquet")
    tables = artifact(run, "ingest").path
    materialise(
        artifact(run, "graph"),
        lambda out: build_graph(tables / "documents", tables / "links", embedded, run.graph, out),
    )

    def work(out: Path) -> dict[str, object]:
        for name, dim in (("model", DIM), ("mlp", None)):
            save_model(LinkModel(ModelShape.of(run.train, dim, ("refers",))), out / f"{name}.safetensors")
        return {"history": [{"epoch": 1, "loss": 3.0, "valid_mrr": 0.2, "seconds": 1.0}]}

    materialise(artifact(run, "train"), work)


def links_in_groups() -> list[tuple[str, str]]:
    rng = np.random.default_rng(1)
    u, v = np.triu_indices(GROUPS * SIZE, 1)
    linked = (u // SIZE == v // SIZE) & (rng.random(len(u)) < 0.5)
    return [(f"d{a}", f"d{b}") for a, b in zip(u[linked], v[linked], strict=True)]


def test_a_corpus_without_questions_and_links_says_so(run: RunConfig) -> None:
    write_tables(run, [])
    result = evaluate(run).result
    assert result["retrieval"] == result["links"] == {}
    assert "no questions" in result["missing"]["retrieval"]
    assert "no links" in result["missing"]["links"]
    page = (artifact(run, "evaluate").path / "report.html").read_text(encoding="utf-8")
    assert "no questions" in page
    assert "No missing links are proposed" in page


def test_discovery_without_links_names_the_remedy(run: RunConfig) -> None:
    write_tables(run, [])
    with pytest.raises(InputError, match="no links") as caught:
        discover(run)
    assert "links table" in caught.value.remedy


def test_a_corpus_with_too_few_links_to_hold_any_out_is_judged_without_a_model(run: RunConfig) -> None:
    write_tables(run, [("d0", "d1"), ("d1", "d2"), ("d3", "d4")])
    write_graph_and_model(run)
    result = evaluate(run).result
    assert result["links"] == {}
    assert "too few links (3)" in result["missing"]["links"]
    with pytest.raises(InputError, match="none is left for valid and test"):
        discover(run)


def test_model_and_all_baselines_stand_in_one_table_and_proposals_join_the_report(run: RunConfig) -> None:
    write_tables(run, links_in_groups())
    write_graph_and_model(run)
    judged = evaluate(run)
    table = judged.result["links"]
    assert set(table) == {
        "model",
        "feature_mlp",
        "cosine",
        "common_neighbours",
        "adamic_adar",
        "resource_allocation",
    }
    assert all({"mrr", "hit@10", "hit@100"} <= set(figures) for figures in table.values())
    assert table["cosine"]["mrr"] > 0.3  # groups of ten are easy
    assert judged.result["details"]["links"]["test_links"] == 20
    written = json.loads((judged.path / "report.json").read_text(encoding="utf-8"))
    assert written["links"] == table
    assert "proposals" not in written

    proposed = discover(run)
    rows = best(proposed, 5)
    assert len(rows) == 5
    assert proposed.result["kept"] == 30
    written = json.loads((judged.path / "report.json").read_text(encoding="utf-8"))
    assert written["proposals"][:5] == rows
    assert rows[0]["reason"] in (judged.path / "report.html").read_text(encoding="utf-8").replace("&amp;", "&")
