"""`catena index check` on a run whose earlier artifacts are there: figures, and exit code 1 where they do not pass."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from data.encoders import load_encoder
from data.encoders.config import HashedConfig, HashedEncoderConfig
from data.partitions import partition_name, write_partition
from data.schema import QUERIES
from ray_apps.cli import main
from ray_apps.config import load_run
from ray_apps.plan import Plan
from retrieval.open import open_index
from tests.unit.retrieval.test_build import build, write_run

DIM, PASSAGES = 16, 58


@pytest.fixture
def run_file(tmp_path: Path, workspace: Path) -> Path:
    """A run with an index of random vectors, all its stages done."""
    (tmp_path / "documents.jsonl").write_text('{"id": "a", "text": "b"}\n')
    file = tmp_path / "run.yaml"
    file.write_text(
        f"name: small\nworkspace: {workspace}\n"
        f"source: {{files: {{documents: {{path: {tmp_path / 'documents.jsonl'}}}}}}}\n"
        f"encoder: {{hashed: {{dim: {DIM}}}}}\n"
    )
    root = write_run(tmp_path / "made", documents=30, dim=DIM)
    fingerprint = load_encoder(HashedEncoderConfig(hashed=HashedConfig(dim=DIM))).fingerprint
    (root / "manifest.json").write_text(json.dumps({"dim": DIM, "fingerprint": fingerprint, "precision": "fp32"}))
    build(root)
    plan = Plan(load_run(file))
    counts = {"documents": 30, "links": 0, "queries": 0, "qrels": 0}
    for stage, folder, result in (
        ("ingest", root / "documents", counts),
        ("chunk", root / "passages", {}),
        ("embed", root / "vectors", {}),
    ):
        shutil.copytree(folder, plan.artifact(stage).path / folder.name)
        finish(plan.artifact(stage).path, result)
    shutil.copytree(root / "out", plan.artifact("index").path)
    finish(plan.artifact("index").path, {})
    return file


def finish(artifact: Path, result: dict[str, Any]) -> None:
    (artifact / "result.json").write_text(json.dumps(result))
    (artifact / "_SUCCESS").touch()


def checked(capsys: pytest.CaptureFixture[str], run_file: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """Exit code and figures."""
    code = main(["index", "check", str(run_file), "--json", *words])
    result: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return code, result["index"]


def test_passages_ask_where_there_are_no_questions(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, figures = checked(capsys, run_file, "--questions", "20")
    assert code == 0 and figures["passed"] is True
    assert (figures["recall@10"], figures["asked_by"], figures["questions"]) == (1.0, "passages", 20)
    assert (figures["points"], figures["passages"], figures["search"]) == (PASSAGES, PASSAGES, "exact")
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]


def test_the_corpuss_own_questions_ask_where_it_has_some(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ingest = Plan(load_run(run_file)).artifact("ingest").path
    rows = [{"id": f"q{n}", "text": f"word{n} title"} for n in range(12)]
    (ingest / "queries").mkdir()
    write_partition(pa.Table.from_pylist(rows, QUERIES), ingest / "queries" / partition_name(0))
    finish(ingest, {"documents": 30, "links": 0, "queries": 12, "qrels": 0})
    code, figures = checked(capsys, run_file)
    assert (code, figures["asked_by"], figures["questions"], figures["recall@10"]) == (0, "queries", 12, 1.0)


def test_an_index_that_lost_passages_does_not_pass(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = open_index(Plan(load_run(run_file)).artifact("index").path)
    index.delete([f"d/{n}" for n in range(15)])
    index.finish()
    index.close()
    assert main(["index", "check", str(run_file)]) == 1
    printed = capsys.readouterr()
    assert "recall@10" in printed.out
    assert "below 0.95" in printed.err and "the index holds 30 passages, the run has 58" in printed.err
    code, figures = checked(capsys, run_file, "--least", "0.1")
    assert code == 1 and figures["passed"] is False, "passages are missing still"


@pytest.mark.parametrize("least", ["2", "-0.1", "most", "nan"])
def test_a_bound_that_is_no_share_is_refused(run_file: Path, capsys: pytest.CaptureFixture[str], least: str) -> None:
    assert main(["index", "check", str(run_file), f"--least={least}"]) == 2
    assert "is not a number from 0 to 1" in capsys.readouterr().err


def test_a_dry_run_checks_nothing(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", "check", str(run_file), "--dry-run"]) == 0
    assert "p50_ms" not in capsys.readouterr().out
