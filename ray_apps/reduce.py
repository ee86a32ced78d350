"""Make the vectors of a run smaller, by its section ``reduce``."""

import sys
from pathlib import Path

from data.artifacts import StageResult
from data.embedding.config import ReduceConfig
from data.errors import StageAbsent
from ray_apps.command import stage_command
from ray_apps.plan import Inputs, Plan, Stage


class ReduceResult(StageResult):
    """Size of the vectors, and what exact search among them finds of what it found before."""

    passages: int
    kept_passages: int
    method: str
    dim: int
    storage: str
    bytes_per_vector: int
    fingerprint: str
    kept_length: float | None = None
    recall_at_10: float | None = None
    recall_at_10_rescored: float | None = None


def _absent(plan: Plan) -> StageAbsent | None:
    if plan.run.reduce.active:
        return None
    return StageAbsent(
        f"{plan.run.name}: nothing to reduce: reduce.method is none and reduce.storage float32",
        "Set one of them, such as --reduce.storage int8, or --reduce.method pca with --reduce.dim 128.",
    )


def _reduce(config: ReduceConfig, inputs: Inputs, out: Path) -> ReduceResult:
    from data.embedding.reduce import reduce

    return ReduceResult.model_validate(reduce(inputs["embedded"].path, config, out))


REDUCE = Stage(
    name="reduce",
    result=ReduceResult,
    config=lambda plan: plan.run.reduce,
    make=_reduce,
    needs=lambda plan: {"embedded": "embed"},
    wanted=lambda plan: plan.run.reduce.active,
    absent=_absent,
    on_ray=True,
)
COMMAND = stage_command(
    "reduce",
    "reduce",
    "vectors to fewer dimensions or fewer bytes, by the run's section `reduce`",
    sections=("source", "steps", "chunk", "encoder", "embed", "reduce"),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["reduce", *sys.argv[1:]]))
