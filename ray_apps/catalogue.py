"""The catalogue of a run: its tools, capabilities and traces as tables, and vectors of what they say."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from data.artifacts import Artifact, StageConfig, StageResult
from data.encoders.config import EncoderConfig
from data.encoders.files import contents
from data.errors import StageAbsent
from data.journals import sizes_of
from data.sources.catalogue_source import CatalogueSource
from ray_apps.command import stage_command
from ray_apps.encoder.check import encoder_needs, encoder_permits, ready_encoder
from ray_apps.plan import Inputs, Plan, Stage


class CatalogueConfig(StageConfig):
    """What decides the tables: files, and how much of the journals of the run's service is read."""

    execution: ClassVar[frozenset[str]] = frozenset({"journals"})

    source: CatalogueSource
    journals: Path
    kept: dict[str, int]

    def identity(self) -> dict[str, Any]:
        """Without journals that of the files alone, so that a service that was never asked changes no artifact."""
        kept = {"kept": self.kept} if self.kept else {}
        return {**self.source.identity(), **kept}


class CatalogueResult(StageResult):
    """Rows of each table, and what became of rows that are in none."""

    tools: int
    capabilities: int
    groups: int
    traces: int
    intents: int
    without_outcome: int
    without_propensities: int
    unknown_shown: int = 0
    unknown_context: int = 0
    rejects: int = 0
    reject_reasons: dict[str, int] = Field(default_factory=dict)
    content: str = Field("", description="digest of the tables, by which a turn of learning knows that nothing is new")


class IntentsConfig(StageConfig):
    """What decides the vectors of tools, capabilities and intents."""

    execution: ClassVar[frozenset[str]] = frozenset({"workers"})

    encoder: EncoderConfig
    workers: int


class IntentsResult(StageResult):
    """What was embedded."""

    tools: int
    capabilities: int
    intents: int
    dim: int
    fingerprint: str
    encoder: str


def no_catalogue(plan: Plan) -> StageAbsent | None:
    """Why nothing can be ranked by feedback; None where the run has a catalogue."""
    if plan.run.catalogue is not None:
        return None
    return StageAbsent(
        "the run file has no `catalogue`", "Give tools, capabilities and traces; docs/ranking.md shows how."
    )


def _config(plan: Plan) -> CatalogueConfig:
    absent, source = no_catalogue(plan), plan.run.catalogue
    if absent is not None:
        raise absent
    assert source is not None
    journals = (plan.run.workspace / "journals" / plan.run.name).resolve()
    return CatalogueConfig(source=source, journals=journals, kept=sizes_of(journals) if source.kept else {})


def _ingest(config: CatalogueConfig, inputs: Inputs, out: Path) -> CatalogueResult:
    from data.capabilities.ingest import ingest_catalogue
    from data.partitions import digest_of
    from data.sources.kept_traces import kept_traces

    further = kept_traces(config.journals, config.kept)
    counts = ingest_catalogue(config.source, out, further=further)
    content = digest_of([out / table for table in ("tools", "capabilities", "traces")])
    return CatalogueResult(**counts, content=content)


def _refuse_rejects(config: CatalogueConfig, made: Artifact) -> None:
    """Refuse tables with rejected rows, made by a run that was not strict, in one that is."""
    if config.source.strict and made.result["rejects"]:
        from data.sources.ingest import first_reject
        from data.sources.resolve import strict_error

        raise strict_error(first_reject(made.path / "rejects"), "catalogue.strict")


def _intents_config(plan: Plan) -> IntentsConfig:
    return IntentsConfig(encoder=plan.encoder, workers=plan.run.embed.actors or 1)


def _embed(config: IntentsConfig, inputs: Inputs, out: Path) -> IntentsResult:
    from data.capabilities.catalogue import Catalogue
    from data.capabilities.traces import Traces
    from data.capabilities.vectors import embed_catalogue, most_of

    folder = inputs["catalogue"].path
    catalogue = Catalogue.open(folder)
    intents = Traces.open(folder, catalogue).intents
    texts = {"tools": catalogue.tool_texts, "capabilities": catalogue.texts, "intents": intents}
    encoder, known = ready_encoder(config.encoder, inputs), most_of(_embedded_before(out), "intents", intents)
    made = embed_catalogue(texts, encoder, out, workers=config.workers, known=known)
    counts = {kind: len(of_kind) for kind, of_kind in texts.items()}
    return IntentsResult(**counts, **made, encoder=config.encoder.label)


def _embedded_before(out: Path) -> list[Path]:
    """Outputs by the same encoder, of any catalogue: new traces cost the vectors of new intents alone."""

    def by_same(folder: Path) -> bool:
        described = [json.loads((one / "config.json").read_text())["config"] for one in (folder, out)]
        return bool(described[0] == described[1])

    return [done.parent for done in out.parent.glob("*/_SUCCESS") if done.parent != out and by_same(done.parent)]


def _stamps(config: IntentsConfig) -> Mapping[str, Any]:
    return {"files": contents(config.encoder)}


CATALOGUE = Stage(
    name="catalogue",
    result=CatalogueResult,
    config=_config,
    make=_ingest,
    wanted=lambda plan: plan.run.catalogue is not None,
    absent=no_catalogue,
    stamps=lambda config: {"files": config.source.stamps()},
    reuse=_refuse_rejects,
    on_ray=True,
    version=2,  # traces say whether what was put first was passed over
)
INTENTS = Stage(
    name="intents",
    result=IntentsResult,
    config=_intents_config,
    make=_embed,
    needs=lambda plan: {"catalogue": "catalogue", **encoder_needs(plan)},
    permits=encoder_permits,
    wanted=lambda plan: plan.run.catalogue is not None,
    absent=no_catalogue,
    stamps=_stamps,
    on_ray=True,
)
COMMAND = stage_command(
    "catalogue",
    "catalogue",
    "read tools, capabilities and traces into tables, and embed what they say",
    sections=("catalogue", "encoder"),
    also=("intents",),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["catalogue", *sys.argv[1:]]))
