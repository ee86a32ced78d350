"""`catena learn` is killed with SIGKILL at each stage and started again: it goes on, and nothing is in twice."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from data.partitions import read_table
from ray_apps.config import load_run
from ray_apps.plan import Plan

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]

REPOSITORY = Path(__file__).resolve().parents[2]
KILLED_TURNS = Path(__file__).with_name("killed_turns.py")
WORDS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot")
SLANG = ("uno", "dos", "tres", "cuatro", "cinco", "seis")  # asked for, and in no description
TRACES, EPOCHS = 400, 40

DONE = {  # what is done when the turn is killed there
    "data.capabilities.ingest:check_mapping before": [],  # validate: the traces are read, and not yet resolved
    "training.ranking.past:Past.of before": ["catalogue", "intents"],  # features
    "training.tracking:Tracker.row noted": ["catalogue", "intents"],  # train
    "training.ranking.driver:table_of before": ["catalogue", "intents"],  # evaluate
    "mlflow:MlflowClient.create_model_version after": ["catalogue", "intents"],  # register: it has no alias yet
}


@pytest.fixture(scope="module")
def run_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("turn"), np.random.default_rng(0)
    chosen = rng.integers(0, len(WORDS), TRACES).tolist()
    traces = [
        {"id": f"{n}", "intent": f"please {SLANG[c]} {n}", "chosen": WORDS[c], "outcome": "success", "time": n + 1}
        for n, c in enumerate(chosen)
    ]
    for name, records in (("tools", [{"id": w, "description": f"does {w}"} for w in WORDS]), ("traces", traces)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "documents.jsonl").touch()
    run = {
        "name": "turn",
        "workspace": str(folder / "workspace"),
        "source": {"files": {"documents": {"path": str(folder / "documents.jsonl")}}},
        "catalogue": {name: {"path": str(folder / f"{name}.jsonl")} for name in ("tools", "traces")},
        "encoder": {"hashed": {"dim": 32}},
        "learn": {
            "network": {"heads": 1},
            "optimizer": {"learning_rate": 0.01, "epochs": EPOCHS, "patience": EPOCHS},
            "batch_traces": 64,
        },
    }
    (folder / "run.yaml").write_text(json.dumps(run))
    return folder / "run.yaml"


@pytest.fixture(scope="module")
def starts(run_file: Path) -> list[dict[str, Any]]:
    """How each start ended, and what was there then."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",  # how often it notes checkpoints: two seconds else
    }
    command = [sys.executable, str(KILLED_TURNS), str(run_file), *DONE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_interrupted_while_the_network_trains_it_says_so_as_elsewhere(run_file: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
    }
    flags = ["--workspace", str(tmp_path), "--learn.optimizer.epochs", "3000", "--learn.optimizer.patience", "3000"]
    command = [sys.executable, "-m", "ray_apps.learn", str(run_file), *flags]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        said = next(line for line in process.stderr if line.startswith("train: epoch 1,"))
        process.send_signal(signal.SIGINT)
        said += process.stderr.read()
        assert process.wait(timeout=60) == 130
    assert "interrupted; start it again and it continues" in said and "Traceback" not in said


def test_each_start_is_killed_where_it_should_be_and_the_last_one_ends(starts: list[dict[str, Any]]) -> None:
    *killed, last = starts
    assert [start["ended"] for start in killed] == [-signal.SIGKILL] * len(DONE) and last["ended"] == 0
    assert {start["point"]: start["done"] for start in killed} == DONE
    assert last["done"] == ["catalogue", "intents", "learn"]


def test_what_was_done_is_kept(starts: list[dict[str, Any]], run_file: Path) -> None:
    by_point = {start["point"]: start for start in starts}
    trained = by_point["training.ranking.driver:table_of before"]["network"]
    assert trained is not None, "the network is written before it is judged"
    assert {start["network"] for start in starts if start["network"] is not None} == {trained}, "trained once"
    kept = by_point["training.tracking:Tracker.row noted"]["epochs"]
    history = json.loads((Plan(load_run(run_file)).artifact("learn").path / "network" / "history.json").read_text())
    assert 2 <= len(kept) < EPOCHS and history["history"][: len(kept)] == kept, "seconds and all: not done again"


def test_nothing_is_in_twice(starts: list[dict[str, Any]], run_file: Path) -> None:
    plan = Plan(load_run(run_file))
    traces = read_table(plan.artifact("catalogue").path / "traces")
    assert sorted(map(int, traces["id"].to_pylist())) == list(range(TRACES))
    for stage in ("catalogue", "intents", "learn"):
        assert len(list(plan.artifact(stage).path.parent.glob("*/_SUCCESS"))) == 1
    last = starts[-1]
    assert last["runs"] == ["FINISHED"], "one run in MLflow"
    assert [sorted(aliases) for aliases in last["versions"]] == [["challenger", "champion"]], "one version, the first"
