"""One turn of ``catena learn``, killed at each of some points and started again; a script.

``python tests/faults/killed_turns.py RUN.yaml POINT...`` prints a JSON list: for each start how it ended, which stages
were done then, when the network was written, and what the registry and MLflow hold. A point is ``module:function`` with
``before`` or ``after`` that call, or ``noted``: after one by which Ray Train has noted two epochs. Each start is the
whole command, on the cluster that ``RAY_ADDRESS`` names, in a process forked from this one: what it imports is loaded
once.
"""

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mlflow  # this and what is unused below: loaded once, rather than in every child
import ray.train.torch  # noqa: F401 - the same

import training.ranking.workers  # noqa: F401 - the same
from benchmarks.link_kill import noted_history
from ray_apps.cli import main as catena
from ray_apps.config import load_run
from ray_apps.learn import registry_of
from ray_apps.plan import Plan


def die_at(point: str, turn: Path) -> None:
    """Let this process kill itself where the point says, in the turn of a folder."""
    place, _, moment = point.partition(" ")
    module, _, name = place.partition(":")
    *owners, function = name.split(".")
    owner = importlib.import_module(module)
    for one in owners:
        owner = getattr(owner, one)
    whole: Callable[..., Any] = getattr(owner, function)

    def dying(*words: Any, **named: Any) -> Any:  # noqa: ANN401 - any call
        if moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = whole(*words, **named)
        if moment == "after" or (moment == "noted" and len(noted_history(turn)) > 1):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, function, dying)


def in_child(work: Callable[[], int]) -> int:
    """How work ended in a process of its own: its exit code, or minus the signal that killed it."""
    child = os.fork()
    if child == 0:
        os._exit(work())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def started(run: Path, point: str | None) -> int:
    """The command; what it prints goes to standard error."""
    os.dup2(2, 1)
    if point is not None:
        die_at(point, Plan(load_run(run)).artifact("learn").path)
    return catena(["learn", str(run)])


def state(run: Path, out: Path) -> int:
    """Write what is there to a file."""
    plan = Plan(load_run(run))
    folder = plan.artifact("learn").path
    network = folder / "network" / "history.json"
    store = folder.parents[1] / "mlflow.db"
    runs, versions = [], []
    if store.exists():
        client = mlflow.MlflowClient(f"sqlite:///{store}")
        experiments = [one.experiment_id for one in client.search_experiments()]
        runs = [found.info.status for found in client.search_runs(experiments)]
        versions = [list(version.aliases) for version in registry_of(plan).versions()]
    told = {
        "done": [stage for stage in ("catalogue", "intents", "learn") if plan.artifact(stage).done],
        "network": network.stat().st_mtime_ns if network.exists() else None,
        "epochs": noted_history(folder),
        "runs": runs,
        "versions": versions,
    }
    out.write_text(json.dumps(told))
    return 0


def main(run: Path, points: Sequence[str]) -> int:
    """Start, be killed, start again."""
    starts, noted = [], run.with_name("state.json")
    for point in [*points, None]:
        ended = in_child(lambda point=point: started(run, point))  # type: ignore[misc]  # mypy infers no lambda's default
        in_child(lambda: state(run, noted))
        starts.append({"point": point, "ended": ended, **json.loads(noted.read_text())})
    sys.stdout.write(json.dumps(starts))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
