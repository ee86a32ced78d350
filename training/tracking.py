"""Every training run in MLflow while it goes on: its parameters, its curves, its files."""

import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from training.config import TrackingConfig
from training.new_store import make_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger("catena")

SQLITE = "sqlite:///"  # before the file of a store
RUN = "mlflow_run"  # in the artifact's folder: the run that a resumed training continues
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}  # MLflow's own: ten minutes


class Tracker:
    """One training's run in MLflow. A store that cannot be reached costs a warning, never the training.

    Args:
        config: experiment and store.
        default_store: SQLite file that is written where the config names no store.
        name: of the run.
        params: what was asked for; every key becomes a parameter, inner ones as ``model.width``.
        out: the artifact's folder: a training that is resumed in it continues the same run. None where it is not kept.
        tags: of the run, such as fingerprints of what it was made from.
        parent: MLflow run that this one is a child of.
        what: is reported, for the warning.
    """

    def __init__(
        self,
        config: TrackingConfig,
        default_store: Path,
        name: str,
        params: BaseModel,
        out: Path | None = None,
        tags: Mapping[str, str] | None = None,
        parent: str = "",
        what: str = "training",
    ) -> None:
        self._what = what
        self.store = store_of(config, default_store)
        self._note = out / RUN if out is not None else None
        self.run_id = self._note.read_text() if self._note is not None and self._note.exists() else ""
        self._client: MlflowClient | None = None
        labels = {**(tags or {}), **({"mlflow.parentRunId": parent} if parent else {})}
        if not self.run_id:
            self._try(lambda client: self._start(client, config.experiment, name, params, labels))
            if self._note is not None and self.run_id:
                self._note.write_text(self.run_id)

    def row(self, row: Mapping[str, float]) -> None:
        """Log what an epoch measured."""
        from mlflow.entities import Metric

        now, epoch = int(time.time() * 1000), int(row["epoch"])
        metrics = [Metric(_metric(key), float(value), now, epoch) for key, value in row.items() if key != "epoch"]
        if self._client is not None or not self.run_id:  # after a failure only the end is tried again
            self._try(lambda client: client.log_batch(self.run_id, metrics=metrics))

    def end(
        self,
        figures: Mapping[str, float],
        files: Sequence[Path] = (),
        status: str = "FINISHED",
        noted: bool = False,
    ) -> str:
        """Log the last figures and files, and end the run.

        Args:
            figures: of the whole training.
            files: that the run receives.
            status: of the run.
            noted: keep the note of the run in the artifact's folder, as there is work left that may be killed: started
                again, it continues the same run.

        Returns:
            The run's id, empty where MLflow could not be written.
        """

        def finish(client: "MlflowClient") -> None:
            from mlflow.entities import Metric

            now = int(time.time() * 1000)
            metrics = [Metric(_metric(key), float(value), now, 0) for key, value in figures.items()]
            client.log_batch(self.run_id, metrics=metrics)
            for file in files:
                client.log_artifact(self.run_id, str(file), "model")
            client.set_terminated(self.run_id, status)

        if self._note is not None and not noted:
            self._note.unlink(missing_ok=True)
        return self.run_id if self.run_id and self._try(finish) else ""

    def end_children(self, status: str) -> None:
        """End the child runs that a killed process left running."""
        from mlflow.entities import ViewType

        def end(client: "MlflowClient") -> None:
            experiment = client.get_run(self.run_id).info.experiment_id
            left = f"tags.`mlflow.parentRunId` = '{self.run_id}' and attributes.status = 'RUNNING'"
            for child in client.search_runs([experiment], left, ViewType.ACTIVE_ONLY):
                client.set_terminated(child.info.run_id, status)

        if self.run_id:
            self._try(end)

    def _start(
        self, client: "MlflowClient", experiment: str, name: str, params: BaseModel, tags: Mapping[str, str]
    ) -> None:
        from mlflow.entities import Param

        known = client.get_experiment_by_name(experiment)
        experiment_id = (
            known.experiment_id
            if known
            else client.create_experiment(experiment, artifact_location=_beside(self.store))
        )
        self.run_id = client.create_run(experiment_id, run_name=name, tags=dict(tags)).info.run_id
        client.log_batch(self.run_id, params=[Param(k, str(v)) for k, v in flat(params.model_dump(mode="json"))])

    def _try(self, do: "Callable[[MlflowClient], None]") -> bool:
        """Whether MLflow did it; where it did not, a warning says why."""
        try:
            self._client = self._client or connect(self.store)
            do(self._client)
        except Exception as error:  # a store, its server, its driver or the network may raise anything
            self._client = None
            first = str(error).strip().split("\n")[0][:300]
            logger.warning(
                "the %s in MLflow (%s) cannot be reported: %s: %s", self._what, self.store, type(error).__name__, first
            )
            return False
        return True


def store_of(config: TrackingConfig, default_store: Path) -> str:
    """MLflow's tracking URI: the configured one, or an SQLite file."""
    return config.uri or f"{SQLITE}{default_store}"


def connect(store: str) -> "MlflowClient":
    """A client of a store; an unreachable server is given up within half a minute."""
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    import mlflow

    for chatty in ("alembic", "mlflow.store.db.utils"):  # a line for each table of a fresh store, otherwise
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if store.startswith(SQLITE) and not store.endswith(":memory:"):
        make_store(Path(store.removeprefix(SQLITE)))
    return mlflow.MlflowClient(store, store)


def flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Keys and values of nested mappings, inner keys as ``outer.inner``."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{key}.")
        else:
            yield before + key, value


def _metric(key: str) -> str:
    """MLflow's metric names have no brackets: ``ndcg@10[48]`` becomes ``ndcg.10.48``."""
    return re.sub(r"[^\w./: -]+", ".", key).strip(".")


def _beside(store: str) -> str | None:
    """Where a new experiment keeps its files: beside an SQLite store; a server decides for itself."""
    file = store.removeprefix(SQLITE)
    return None if file == store else (Path(file).parent / "mlruns").as_uri()
