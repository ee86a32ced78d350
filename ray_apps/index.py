"""Fill the search index with the run's passages."""

import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from data import words
from data.artifacts import StageConfig, StageResult
from data.encoders.config import EncoderConfig
from ray_apps.command import Result, stage_command
from ray_apps.encoder.check import encoder_needs, encoder_permits, ready_encoder
from ray_apps.ingest import no_texts
from ray_apps.live import fold
from ray_apps.plan import Inputs, Plan, Stage
from retrieval.config import IndexConfig


class IndexStageConfig(StageConfig):
    """What decides an index; the encoder where it is to be asked how far its list is trusted."""

    index: IndexConfig
    encoder: EncoderConfig | None


class IndexResult(StageResult):
    """Passages indexed, dimension of vectors, language of words, how fast, and how far each list is trusted."""

    points: int
    dim: int
    engine: str
    language: str
    points_per_s: float
    trust: dict[str, Any] | None = None


def _needs(plan: Plan) -> Mapping[str, str]:
    needs = {"documents": plan.documents, "passages": "chunk", "vectors": plan.vectors}
    if plan.run.late is not None:
        needs["late"] = "late"
    if plan.run.index.rescore:
        needs["full"] = "embed"
    return {**needs, **encoder_needs(plan)} if plan.run.index.measures_trust else needs


def _config(plan: Plan) -> IndexStageConfig:
    return IndexStageConfig(index=plan.run.index, encoder=plan.encoder if plan.run.index.measures_trust else None)


def _index(config: IndexStageConfig, inputs: Inputs, out: Path) -> IndexResult:
    from retrieval.build import build_index
    from retrieval.trust import weigh

    made = build_index(
        inputs["documents"].path / "documents",
        inputs["passages"].path / "passages",
        inputs["vectors"].path,
        config.index,
        out,
        late=inputs["late"].path if "late" in inputs else None,
        full=inputs["full"].path if "full" in inputs else None,
    )
    trust = None
    if config.encoder is not None:
        trust = weigh(out, inputs["passages"].path / "passages", ready_encoder(config.encoder, inputs))
    return IndexResult(**made, trust=None if trust is None else trust.model_dump())


def _check(config: IndexStageConfig) -> None:
    """Ask a server whether it is there, before anything is embedded for it."""
    if config.index.engine == "server":
        from retrieval.engines.server import connect

        connect(config.index).close()


INDEX = Stage(
    name="index",
    result=IndexResult,
    config=_config,
    make=_index,
    needs=_needs,
    absent=no_texts,
    permits=lambda plan: encoder_permits(plan) if plan.run.index.measures_trust else {},
    stamps=lambda config: {"words": words.VERSION},
    check=_check,
    version=5,  # keys are numbers, and it says so
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
