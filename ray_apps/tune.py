"""Search for better values of the section `train`, and write the best ones as a run file."""

import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from data.artifacts import StageConfig, StageResult
from ray_apps.command import Command
from ray_apps.graph import no_links
from ray_apps.plan import Inputs, Plan, Stage
from ray_apps.report import report_folder
from ray_apps.tables import table
from training.links.config import TrainConfig
from training.tune_config import TuneConfig, check_space


class TuneStageConfig(StageConfig):
    """What decides the search; its name and store in MLflow do not."""

    execution: ClassVar[frozenset[str]] = frozenset({"run_name", "store"})

    train: TrainConfig
    tune: TuneConfig
    run_name: str
    store: Path


class TuneResult(StageResult):
    """What a search found: ``values`` by key, each with ``before`` and ``best``; ``importances`` where estimated."""

    trials: int
    best_score: float
    first_score: float | None
    values: dict[str, dict[str, Any]]
    importances: dict[str, float]
    mlflow_run: str


def _check(config: TuneStageConfig) -> None:
    check_space(config.train, config.tune)


def _search(config: TuneStageConfig, inputs: Inputs, out: Path) -> TuneResult:
    from functools import partial

    from training.links import driver as links
    from training.tune import changed, first_value, search
    from training.tune_config import inner_values
    from training.tune_report import importances, write_tune_report
    from training.tune_trials import TrialRuns
    from training.typed import driver as typed

    train, tune = config.train, config.tune
    epochs = train.optimizer.epochs
    runs = TrialRuns(train.tracking, config.store, config.run_name, train, tune, out)
    train_trial = typed.train_trial if train.task == "typed" else links.train_trial
    study = search(partial(train_trial, inputs["graph"].path), train, tune, train.spread, epochs, out, runs)
    before = {key: inner_values(train)[key] for key in tune.space}
    report = write_tune_report(study, config.run_name, tune.metric, before, epochs, out)
    return TuneResult(
        trials=tune.trials,
        best_score=study.best_value,
        first_score=first_value(study, before),
        values={key: {"before": old, "best": new} for key, (old, new) in changed(train, study).items()},
        importances=importances(study),
        mlflow_run=runs.close({"best": study.best_value}, [report]),
    )


def _config(plan: Plan) -> TuneStageConfig:
    store = plan.run.workspace.resolve() / "mlflow.db"
    return TuneStageConfig(train=plan.run.train, tune=plan.run.tune, run_name=plan.run.name, store=store)


TUNE = Stage(
    name="tune",
    result=TuneResult,
    config=_config,
    make=_search,
    needs=lambda plan: {"graph": "graph"},
    wanted=lambda plan: False,
    absent=no_links,
    check=_check,
    on_ray=True,
)


def tune(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """Search, and write the best configuration as a run file.

    Returns:
        ``run``, ``tune`` (a ``TuneResult``), ``run_file`` (trains at once with the best values), ``report``, and the
        ``artifact``.
    """
    made = plan.bring("tune")
    best = {key: pair["best"] for key, pair in made.result["values"].items()}
    return {
        "run": plan.run.name,
        "tune": made.result,
        "run_file": str(_write_run_file(plan, best)),
        "report": str(made.path / "report.html"),
        "artifact": str(made.path),
    }


def _write_run_file(plan: Plan, best: Mapping[str, Any]) -> Path:
    """What the run file, the environment and the flags say, with the best values in the section ``train``."""
    import yaml

    from data.files import whole_or_absent
    from training.tune_config import with_values

    tuned = plan.run.model_copy(update={"train": with_values(plan.run.train, best)})
    values = tuned.model_dump(mode="json", exclude_defaults=True, exclude={"tune"})
    folder = report_folder(plan.run)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "best.yaml"
    with whole_or_absent(path) as unfinished:
        unfinished.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def _show(result: Mapping[str, Any]) -> str:
    found = result["tune"]
    rows = [
        [key, pair["before"], pair["best"], found["importances"].get(key, "")] for key, pair in found["values"].items()
    ]
    first = "" if found["first_score"] is None else f" ({found['first_score']:.4f} with the run file's values)"
    return "\n".join(
        [
            f"best score of {found['trials']} trials: {found['best_score']:.4f}{first}",
            table(("key", "run file", "best", "importance"), rows),
            f"report    {result['report']}",
            f"run file  {result['run_file']}",
        ]
    )


COMMAND = Command(
    name="tune",
    summary="search for better values of the section train, and write them as a run file",
    call=tune,
    show=_show,
    sections=("source", "encoder", "graph", "train", "tune"),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["tune", *sys.argv[1:]]))
