"""Fill the search index with the run's passages."""

import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from data import words
from data.artifacts import StageResult
from ray_apps.command import Result, stage_command
from ray_apps.ingest import no_texts
from ray_apps.live import fold
from ray_apps.plan import Inputs, Plan, Stage
from retrieval.config import IndexConfig


class IndexResult(StageResult):
    """Passages indexed, the dimension of their vectors, the language of their words, and how fast."""

    points: int
    dim: int
    engine: str
    language: str
    points_per_s: float


def _needs(plan: Plan) -> Mapping[str, str]:
    needs = {"documents": plan.documents, "passages": "chunk", "vectors": plan.vectors}
    if plan.run.late is not None:
        needs["late"] = "late"
    if plan.run.index.rescore:
        needs["full"] = "embed"
    return needs


def _index(config: IndexConfig, inputs: Inputs, out: Path) -> IndexResult:
    from retrieval.build import build_index

    made = build_index(
        inputs["documents"].path / "documents",
        inputs["passages"].path / "passages",
        inputs["vectors"].path,
        config,
        out,
        late=inputs["late"].path if "late" in inputs else None,
        full=inputs["full"].path if "full" in inputs else None,
    )
    return IndexResult.model_validate(made)


INDEX = Stage(
    name="index",
    result=IndexResult,
    config=lambda plan: plan.run.index,
    make=_index,
    needs=_needs,
    absent=no_texts,
    stamps=lambda config: {"words": words.VERSION},
    version=2,  # with terms.npy
)
_STAGES = stage_command(
    "index",
    "index",
    "fill the search index, and the file that a service looks documents up in",
    sections=("source", "steps", "chunk", "encoder", "embed", "cache", "reduce", "late", "index"),
    also=("lookup",),
)


def index(plan: Plan, arguments: Namespace) -> Result:
    """Make the index, with the documents that were put while the run was served."""
    fold(plan.run)
    assert _STAGES.call is not None
    return _STAGES.call(Plan(plan.run, plan.stages), arguments)  # whose corpus may be another now


COMMAND = replace(_STAGES, call=index)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["index", *sys.argv[1:]]))
