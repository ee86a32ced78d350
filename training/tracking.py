"""Every training run in MLflow: its parameters, its curves, its model."""

import logging
from pathlib import Path
from typing import Any

from pydantic import BaseModel


def track(config: BaseModel, run_name: str, experiment: str, store: str, result: dict[str, Any], model: Path) -> str:
    """Record a finished training and return the MLflow run's id.

    Args:
        config: what was asked for; every key becomes a parameter.
        run_name: name of the run file.
        experiment: that the run belongs to; made where it does not exist.
        store: MLflow's tracking URI.
        result: ``history`` by epoch and the best figures.
        model: folder whose ``.safetensors`` files become the run's artifacts.
    """
    import mlflow

    for chatty in ("alembic", "mlflow.store.db.utils"):  # a line for each table of a fresh store, otherwise
        logging.getLogger(chatty).setLevel(logging.WARNING)
    client = mlflow.MlflowClient(store)
    known = client.get_experiment_by_name(experiment)
    experiment_id = (
        known.experiment_id if known else client.create_experiment(experiment, artifact_location=_beside(store))
    )
    run_id: str = client.create_run(experiment_id, run_name=run_name).info.run_id
    for key, value in config.model_dump(mode="json").items():
        client.log_param(run_id, key, value)
    for row in result["history"]:
        for name in ("loss", "valid_mrr", "seconds"):
            client.log_metric(run_id, name, row[name], step=int(row["epoch"]))
    client.log_metric(run_id, "best_valid_mrr", result["valid_mrr"])
    for weights in sorted(model.glob("*.safetensors")):
        client.log_artifact(run_id, str(weights))
    client.set_terminated(run_id)
    return run_id


def _beside(store: str) -> str | None:
    """Where a new experiment keeps its files: beside an SQLite store; a server decides for itself."""
    file = store.removeprefix("sqlite:///")
    return None if file == store else (Path(file).parent / "mlruns").as_uri()
