"""Eight ASHA trials on two cores, the search killed among them and started again."""

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import mlflow
import optuna
import pytest
import ray
from optuna.trial import TrialState

from tests.tuned_points import TUNING, PointsConfig, run
from training.tune import REPEATED, STUDY, changed
from training.tune_config import with_values

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]


def column(file: Path, query: str) -> list[str]:
    """What a database holds, read as a file: opening a study makes tables, which another process is making."""
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", timeout=0, uri=True)) as opened:
            return [value for (value,) in opened.execute(query)]
    except sqlite3.OperationalError:  # there is no file yet, no table, or it is being written
        return []


def states(out: Path) -> list[TrialState]:
    """Of the trials so far."""
    return [TrialState[state] for state in column(out / STUDY, "SELECT state FROM trials")]


def in_the_midst(out: Path, store: Path) -> bool:
    """Whether two trials are over and another one runs, in MLflow too, beside the search's own run."""
    found = states(out)
    if found.count(TrialState.COMPLETE) < 2 or TrialState.RUNNING not in found:
        return False
    return column(store, "SELECT status FROM runs").count("RUNNING") >= 2


def kill_in_the_midst(search: subprocess.Popen[bytes], out: Path, store: Path) -> list[TrialState]:
    """Kill a search in that state, and the states then: for each look it is halted, else it goes on until the kill."""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        assert search.poll() is None, "the search ended before it could be killed"
        search.send_signal(signal.SIGSTOP)
        if in_the_midst(out, store):
            break
        search.send_signal(signal.SIGCONT)
        time.sleep(0.05)
    found = states(out)
    search.kill()
    search.wait()
    return found


def test_a_killed_search_goes_on_where_it_was(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "catena")
    out, store = tmp_path / "tune", tmp_path / "mlflow.db"
    out.mkdir()
    address = ray.get_runtime_context().gcs_address
    killed = subprocess.Popen([sys.executable, "-m", "tests.tuned_points", str(out), address])
    before = kill_in_the_midst(killed, out, store)
    assert 2 <= before.count(TrialState.COMPLETE) < 8 and TrialState.RUNNING in before

    config = PointsConfig()
    runs = run(out, config, store)
    study = optuna.load_study(study_name="tune", storage=f"sqlite:///{out / STUDY}")
    trials = study.get_trials()
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(complete) == TUNING.trials
    left = {trial.number for trial in trials if trial.state == TrialState.FAIL}
    assert left == {trial.user_attrs[REPEATED] for trial in trials if REPEATED in trial.user_attrs} != set()
    for trial in trials:
        if REPEATED in trial.user_attrs:
            # Of a trial that was killed while it was drawn, what was drawn of it.
            assert trials[trial.user_attrs[REPEATED]].params.items() <= trial.params.items()

    # The first trial is the run file's own; others trained something else, and the best is better.
    assert complete[0].params == {key: pair[0] for key, pair in changed(config, study).items()}
    assert len({trial.value for trial in complete}) > 4
    assert study.best_value > complete[0].value + 0.1
    assert any(len(trial.intermediate_values) < 4 for trial in complete), "ASHA stopped no trial"
    best = with_values(config, study.best_trial.params)
    assert best.optimizer.learning_rate > config.optimizer.learning_rate and best.steps == 8

    client = mlflow.MlflowClient(f"sqlite:///{store}")
    parent = client.get_run(runs.run_id)
    children = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{runs.run_id}'")
    ended = [child.info.status for child in children]
    # The kill may also fall between the end of a trial in the study and in MLflow, where one that ends is the only one.
    assert ended.count("FINISHED") in (7, 8) and set(ended) <= {"FINISHED", "KILLED"} and "KILLED" in ended
    # The kill may fall between the making of a trial's run and its parameters; they come again with its repetition.
    told = [child for child in children if child.data.params or child.info.status == "FINISHED"]
    assert {float(child.data.params["optimizer.learning_rate"]) for child in told} == {
        trial.params["optimizer.learning_rate"] for trial in trials
    }
    assert "score" in children[0].data.metrics and parent.data.metrics["best"] == study.best_value
    assert "tune: continuing with" in caplog.text and "tune: trial 8 of 8, score" in caplog.text
