"""Search evaluated on BEIR folders, from the files to tables, report and MLflow."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from ray_apps.cli import main

pytestmark = pytest.mark.usefixtures("cluster")

ANIMALS = ("fox", "whale", "lynx", "heron", "otter", "viper", "bison", "gecko", "raven", "moose", "tapir", "quail")
RUN = """\
name: {name}
workspace: {workspace}
source:
  beir:
    folder: {folder}
    queries: all
encoder:
  hashed: {{dim: 64}}
evaluate:
  resamples: 200
  metrics: [ndcg@10, p@1, rprec]
train:
  tracking:
    uri: sqlite:///{workspace}/evaluations.db
"""


def write_run(folder: Path, name: str, judged: int) -> Path:
    """A corpus about animals; the first questions are judged, one of them by a document that is not there."""
    corpus = folder / name
    (corpus / "qrels").mkdir(parents=True)
    documents = [{"_id": f"d{n}", "title": one, "text": f"The {one} lives here."} for n, one in enumerate(ANIMALS)]
    questions = [{"_id": f"q{n}", "text": f"Where does the {one} live?"} for n, one in enumerate(ANIMALS)]
    for file, rows in (("corpus", documents), ("queries", questions)):
        (corpus / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    qrels = [f"q{n}\td{n}\t1" for n in range(judged)] + ["q0\tgone\t1", f"q{judged}\td0\t0"]
    (corpus / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(qrels) + "\n")
    path = folder / f"{name}.yaml"
    path.write_text(RUN.format(name=name, workspace=folder / "workspace", folder=corpus))
    return path


def test_beir_folders_are_evaluated_one_by_one_and_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    import mlflow

    small, large = write_run(tmp_path, "small", 4), write_run(tmp_path, "large", 9)
    with caplog.at_level(logging.WARNING, "catena"):
        assert main(["evaluate", str(small), "--json"]) == 0
    alone = last_line(capsys)
    assert set(alone["retrieval"]) == {"bm25", "dense", "hybrid"} and alone["retrieval_default"] == "hybrid"
    assert alone["retrieval"]["bm25"] == pytest.approx(
        {"ndcg@10": (3 + 0.6131) / 4, "p@1": 1.0, "rprec": 0.875}, abs=1e-4
    )
    assert "1 of the judged documents are not in the corpus (gone; judgements of them: 1)" in caplog.text

    report = json.loads(Path(alone["report"]).with_name("report.json").read_text())
    details = report["details"]["retrieval"]
    assert (details["queries"], details["without_judgements"], details["without_relevant"]) == (4, 7, 1)
    assert details["unknown_documents"] == {"documents": 1, "judgements": 1, "examples": ["gone"]}
    assert {row["metric"] for row in details["comparisons"]} == {"ndcg@10", "p@1", "rprec"}
    assert "R-precision" in Path(alone["report"]).read_text()

    assert main(["evaluate", str(small), str(large), "--json"]) == 0
    both = last_line(capsys)
    assert [summary["run"] for summary in both["runs"]] == both["corpora"] == ["small", "large"]
    assert both["runs"][0] == alone
    assert both["retrieval"]["bm25"]["rprec"] == pytest.approx((0.875 + 8.5 / 9) / 2)
    assert main(["evaluate", str(small), str(large)]) == 0
    shown = capsys.readouterr().out
    assert "mean over small, large:" in shown and shown.rstrip().endswith("hybrid is the default")

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/workspace/evaluations.db")
    experiment = client.get_experiment_by_name("catena")
    tracked = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(tracked) == {"small evaluate_search", "large evaluate_search"}  # once each: what is kept is not repeated
    assert tracked["small evaluate_search"].data.metrics["bm25/rprec"] == pytest.approx(0.875)
    assert tracked["small evaluate_search"].data.params["resamples"] == "200"


def test_every_run_file_is_checked_before_the_first_is_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = write_run(tmp_path, "small", 4)
    assert main(["evaluate", str(small), str(tmp_path / "smal.yaml")]) == 2
    assert "run file not found" in capsys.readouterr().err
    assert not (tmp_path / "workspace" / "ingest").exists()
    assert main(["evaluate", str(small), str(small), "--dry-run"]) == 0
    assert capsys.readouterr().out.count("evaluate_search") == 2


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The JSON object that a command ends with."""
    parsed: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return parsed
