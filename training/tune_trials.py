"""What a search logs of its trials: a line for each, and a run in MLflow under the search's own."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from data.artifacts import StageConfig
from data.progress import progress
from training.config import TrackingConfig
from training.tracking import Tracker
from training.tune_config import with_values

logger = logging.getLogger("catena")

OWN = ("best", "seen")  # what a search adds to the figures of an epoch


class TrialRuns:
    """The MLflow runs of a search's trials: children of one run.

    Args:
        tracking: experiment and store.
        default_store: SQLite file where the config names no store.
        name: of the run file.
        config: that the trials start from.
        tuning: of the search, the parameters of the parent run.
        out: the artifact's folder: a search that continues keeps its parent run.
    """

    def __init__(
        self,
        tracking: TrackingConfig,
        default_store: Path,
        name: str,
        config: StageConfig,
        tuning: StageConfig,
        out: Path,
    ) -> None:
        self._tracking, self._store, self._name, self._config = tracking, default_store, name, config
        self._parent = Tracker(tracking, default_store, f"{name} tune", tuning, out)
        self._running: dict[str, Tracker] = {}
        self._parent.end_children("KILLED")

    @property
    def run_id(self) -> str:
        """The parent run; empty where MLflow cannot be written."""
        return self._parent.run_id

    def start(self, trial: str, values: Mapping[str, Any]) -> None:
        """Begin a trial's run; none where the search has none."""
        if self.run_id:
            name = f"{self._name} {trial}"
            params = with_values(self._config, values)
            self._running[trial] = Tracker(self._tracking, self._store, name, params, parent=self.run_id)

    def row(self, trial: str, row: Mapping[str, float]) -> None:
        """Log what an epoch measured."""
        if trial in self._running:
            self._running[trial].row(row)

    def end(self, trial: str, figures: Mapping[str, float], status: str) -> None:
        """End a trial's run."""
        if trial in self._running:
            self._running.pop(trial).end(figures, status=status)

    def close(self, figures: Mapping[str, float], files: list[Path]) -> str:
        """End the search's run; returns its id, empty where MLflow could not be written."""
        return self._parent.end(figures, files) if self.run_id else ""


class TrialLog(Callback):
    """Follows the trials in the process that searches.

    Args:
        trials: in all.
        metric: that is to be high.
        runs: in MLflow.
    """

    def __init__(self, trials: int, metric: str, runs: TrialRuns | None) -> None:
        self._trials, self._done, self._metric, self._runs = trials, 0, metric, runs
        self._counting = progress("tune", trials, "trials")
        self._best = -float("inf")
        self.last_error = "none"

    def __enter__(self) -> "TrialLog":
        self._counted = self._counting.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:  # noqa: ANN401 - as of any context
        self._counting.__exit__(*error)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray Tune keeps a copy of its callbacks on disk."""
        return {}

    def start(self, done: int) -> None:
        """Begin, or begin again, with so many trials done."""
        self._counted.advance(done - self._done)
        self._done = done

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        """Ray Tune's name for a trial that begins."""
        if self._runs is not None:
            self._runs.start(trial.trial_id, trial.config)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: object
    ) -> None:
        """Ray Tune's name for an epoch of a trial."""
        if self._runs is not None:
            self._runs.row(trial.trial_id, _figures(result))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        """Ray Tune's name for a trial that ended, or was stopped."""
        result = trial.last_result or {}
        found = result.get("best", float("nan"))
        self._done += 1
        self._best = max(self._best, found)
        said = ", ".join(
            f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in trial.config.items()
        )
        logger.info(
            "tune: trial %d of %d, %s %.4f after %d epochs (best %.4f): %s",
            self._done,
            self._trials,
            self._metric,
            found,
            result.get("seen", 0),
            self._best,
            said,
        )
        self._ended(trial, {"best": found}, "FINISHED")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        """Ray Tune's name for a trial that failed."""
        self._done += 1
        error = trial.get_error() if callable(getattr(trial, "get_error", None)) else None
        self.last_error = str(getattr(error, "cause", None) or error).strip()
        logger.warning("tune: trial %d of %d failed: %s", self._done, self._trials, self.last_error.splitlines()[0])
        self._ended(trial, {}, "FAILED")

    def _ended(self, trial: Trial, figures: Mapping[str, float], status: str) -> None:
        self._counted.advance()
        if self._runs is not None:
            self._runs.end(trial.trial_id, figures, status)


def _figures(result: Mapping[str, Any]) -> dict[str, float]:
    """What the training itself reported, without what Ray Tune adds."""
    added = {"timestamp", "done", "training_iteration", "pid", "time_this_iter_s", "time_total_s", "time_since_restore"}
    return {
        key: float(value)
        for key, value in result.items()
        if isinstance(value, int | float) and key not in (*added, *OWN) and not key.startswith("iterations_since")
    }
