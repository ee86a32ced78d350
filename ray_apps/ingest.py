"""Read a corpus into tables, and apply the user's own steps to its documents."""

import sys
from pathlib import Path

from pydantic import Field

from data.artifacts import Artifact, StageConfig, StageResult
from data.errors import StageAbsent
from data.passages.steps import StepConfig, code_stamp
from data.sources import SourceConfig, fingerprint
from ray_apps.command import stage_command
from ray_apps.live import source_of
from ray_apps.plan import Inputs, Plan, Stage


class IngestResult(StageResult):
    """Rows of each table, and what became of rows that are in none."""

    documents: int
    links: int
    queries: int
    qrels: int
    rejects: int = 0
    reject_reasons: dict[str, int] = Field(default_factory=dict)
    skipped: dict[str, int] = Field(default_factory=dict)
    duplicate_links: int = 0
    self_links: int = 0
    feature_dim: int = 0
    unknown_judged: int = 0
    without_text: int = 0
    live_writes: int = 0
    live_replaced: int = 0
    live_deleted: int = 0
    live_links: int = 0
    notes: list[str] = Field(default_factory=list)


class StepsConfig(StageConfig):
    """What decides the documents that the user's own steps make."""

    steps: tuple[StepConfig, ...]


class StepsResult(StageResult):
    """Documents, and the partitions of them that were made now."""

    documents: int
    partitions: int


def _ingest(config: SourceConfig, inputs: Inputs, out: Path) -> IngestResult:
    from data.sources.ingest import ingest

    return IngestResult.model_validate(ingest(config, out))


def _refuse_rejects(config: SourceConfig, made: Artifact) -> None:
    """Refuse tables with rejected rows, made by a run that was not strict, in one that is."""
    if config.strict and made.result["rejects"]:
        from data.sources.ingest import first_reject
        from data.sources.resolve import strict_error

        raise strict_error(first_reject(made.path / "rejects"))


def _steps(config: StepsConfig, inputs: Inputs, out: Path) -> StepsResult:
    from data.passages.document_steps import run_steps

    return StepsResult.model_validate(run_steps(inputs["tables"].path / "documents", config.steps, out))


def no_texts(plan: Plan) -> StageAbsent | None:
    """Why nothing can be made of the texts of the run's corpus; None where it has texts."""
    if plan.run.source.has_text:
        return None
    return StageAbsent(
        "The source is a graph without text, so there is nothing to cut, to embed or to search.",
        "Train, evaluate and discover work on links alone; for search, give documents by source.files.",
    )


def _no_steps(plan: Plan) -> StageAbsent | None:
    if plan.run.steps:
        return None
    return StageAbsent("the run file has no `steps`", "Name functions of your own, steps: [my_package.steps:clean].")


INGEST = Stage(
    name="ingest",
    result=IngestResult,
    config=lambda plan: source_of(plan.run),
    make=_ingest,
    stamps=lambda config: {"fingerprint": fingerprint(config)},
    reuse=_refuse_rejects,
    on_ray=True,
)
STEPS = Stage(
    name="steps",
    result=StepsResult,
    config=lambda plan: StepsConfig(steps=plan.run.steps),
    make=_steps,
    needs=lambda plan: {"tables": "ingest"},
    wanted=lambda plan: bool(plan.run.steps),
    absent=_no_steps,
    stamps=lambda config: {"code": [code_stamp(step) for step in config.steps]},
    on_ray=True,
)
COMMAND = stage_command(
    "ingest",
    "ingest",
    "read the corpus into documents, links, queries and rejects, and cut it into passages",
    sections=("source", "steps", "chunk"),
    also=("chunk",),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["ingest", *sys.argv[1:]]))
