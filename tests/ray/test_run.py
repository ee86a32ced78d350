"""The whole job by its commands, on a small part of the built-in corpus, as the README has it."""

import json
from pathlib import Path
from typing import Any

import pytest

from ray_apps.cli import main
from ray_apps.config import load_run

pytestmark = pytest.mark.usefixtures("cluster")

RUN = """\
name: small
source:
  pydocs:
    packages: [networkx]
    max_documents: 120
chunk:
  max_chars: null
train:
  optimizer:
    epochs: 1
  scorer:
    folds: 1
    epochs: 2
evaluate:
  resamples: 100
"""


@pytest.fixture(scope="module")
def run_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a minute, in a workspace that this module's tests share."""
    folder = tmp_path_factory.mktemp("run")
    path = folder / "small.yaml"
    path.write_text(f"workspace: {folder / 'workspace'}\n{RUN}")
    return path


def result(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    """The JSON object that a command ends with."""
    assert main([str(word) for word in (*words, "--json")]) == 0
    parsed: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return parsed


def test_run_ends_with_figures_of_every_stage_and_a_report(
    run_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Methods are judged and candidates scored on Ray, as with many documents."""
    monkeypatch.setattr("ray_apps.graph.SPREAD_FROM", 100)
    made = result(capsys, "run", run_file)
    assert made["embed"]["documents"] == 120
    assert made["embed"]["documents_per_s"] > 0
    assert set(made["links"]) == {
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
    assert all(0 < figures["mrr"] <= 1 for figures in made["links"].values())
    assert list(made["seconds"]) == [
        *("ingest", "chunk", "split", "embed", "index", "graph", "train", "evaluate_links", "discover")
    ]
    report = Path(made["report"])
    assert "adamic_adar" in report.read_text().lower().replace("–", "_").replace(" ", "_")
    assert json.loads(report.with_name("report.json").read_text())["links"].keys() == made["links"].keys()


def times(workspace: Path) -> dict[Path, int]:
    """When each file of a workspace was written, those of logs apart."""
    files = (path for path in workspace.rglob("*") if path.is_file())
    return {path: path.stat().st_mtime_ns for path in files if "logs" not in path.parts}


def test_second_run_does_nothing_and_says_the_same(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = result(capsys, "run", run_file)
    workspace = run_file.parent / "workspace"
    before = times(workspace)
    assert result(capsys, "run", run_file) == first
    assert times(workspace) == before


def test_evaluate_has_the_form_of_run(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert result(capsys, "evaluate", run_file) == result(capsys, "run", run_file)


def test_stats_count_the_corpus(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counted = result(capsys, "stats", run_file)["stats"]
    assert counted["documents"] == counted["passages"] == 120 and counted["tokens"] > 120 * 20
    assert (
        counted["scripts"]["Latin"] > 0.99
        and counted["tokens_max"] >= counted["tokens_p95"] >= counted["tokens_median"]
    )


def test_search_finds_a_function_by_what_it_does(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = result(capsys, "search", run_file, "degree of each node", "--top-k", "5", "--filter", "package=networkx")
    assert len(wanted["hits"]) == 5
    assert any("degree" in hit["document_id"] for hit in wanted["hits"])
    assert main(["search", str(run_file), "degree of each node", "--mode", "bm25"]) == 0
    assert capsys.readouterr().out.startswith("  1. networkx.")


def test_discover_lists_the_best_first_with_reasons(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    links = result(capsys, "discover", run_file, "--top", "3")["proposals"]
    assert len(links) == 3
    assert [link["probability"] for link in links] == sorted((link["probability"] for link in links), reverse=True)
    assert all(0 <= link["probability"] <= 1 and link["reason"] for link in links)
    assert main(["discover", str(run_file), "--top", "3"]) == 0
    assert f"{links[0]['source_label']} -> {links[0]['target_label']}" in capsys.readouterr().out


def test_a_text_that_is_not_in_the_corpus_gets_links(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of its topic, with calibrated chances, the links that it brings apart."""
    text = "Returns the degree of each node of the graph."
    links = result(capsys, "link", run_file, "--text", text, "--top", "5")["proposals"]
    assert len(links) == 5 and all(0 <= link["probability"] <= 1 and link["reason"] for link in links)
    assert any("degree" in link["target"] for link in links)
    brought = links[0]["target"]
    others = result(capsys, "link", run_file, "--text", text, "--link", brought)["proposals"]
    assert brought not in {link["target"] for link in others}
    assert main(["link", str(run_file)]) == 2
    assert "neither text nor links" in capsys.readouterr().err


def test_another_training_keeps_the_vectors(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def plan(*flags: str) -> dict[str, bool]:
        planned = result(capsys, "run", run_file, "--dry-run", *flags)
        return {stage: made["done"] for stage, made in planned["artifacts"].items()}

    done = result(capsys, "run", run_file)["seconds"].keys()
    assert all(plan().values())
    changed = plan("--train.optimizer.seed", "7")
    assert {stage for stage in done if not changed[stage]} == {"train", "evaluate_links", "discover"}


def test_what_a_service_looks_up_has_the_proposals(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = result(capsys, "discover", run_file)["discover"]["kept"]
    assert result(capsys, "index", run_file)["lookup"]["proposed"] == kept > 0


def test_a_model_is_registered_and_a_search_writes_a_run_file(
    run_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registered = result(capsys, "registry", "register", run_file)["version"]
    figures = result(capsys, "evaluate", run_file)["links"]["model"]
    assert registered["mrr"] == figures["mrr"] and registered["aliases"] == ["challenger", "champion"]
    assert all(registered["fingerprints"].values())
    assert result(capsys, "registry", "list", run_file)["versions"] == [registered]
    assert main(["registry", "promote", str(run_file)]) == 2
    assert "version 1 of small is the champion already" in capsys.readouterr().err

    space = json.dumps({"optimizer.learning_rate": {"low": 0.001, "high": 0.02, "log": True}})
    found = result(capsys, "tune", run_file, "--tune.trials", "2", "--tune.space", space)
    assert found["tune"]["best_score"] >= found["tune"]["first_score"] > 0
    best = load_run(Path(found["run_file"])).train
    assert best.optimizer.learning_rate == found["tune"]["values"]["optimizer.learning_rate"]["best"]
    assert best.optimizer.epochs == 1 and Path(found["report"]).exists()
