"""Which stage needs which, and where each one's output belongs."""

from dataclasses import dataclass
from typing import Any

from data.artifacts import Artifact, locate
from data.sources import fingerprint
from data.steps import code_stamp
from ray_apps.config import RunConfig


@dataclass(frozen=True)
class Stage:
    """A stage's config sections (keys of the run file) and the stages whose output it reads."""

    sections: tuple[str, ...]
    needs: tuple[str, ...] = ()


STAGES = {
    "ingest": Stage(("source",)),
    "steps": Stage((), ("ingest",)),
    "chunk": Stage(("chunk",), ("ingest",)),
    "embed": Stage(("encoder", "embed"), ("chunk",)),
    "index": Stage(("index",), ("ingest", "chunk", "embed")),
    "graph": Stage(("graph",), ("ingest", "embed")),
    "train": Stage(("train",), ("graph",)),
    "evaluate": Stage(("evaluate",), ("ingest", "index", "train")),
    "discover": Stage(("discover",), ("ingest", "train")),
}


def stages_of(run: RunConfig) -> tuple[str, ...]:
    """Names of a run's stages, in order; the user's own steps are one where there are any."""
    return tuple(stage for stage in STAGES if stage != "steps" or run.steps)


def artifact(run: RunConfig, stage: str) -> Artifact:
    """The artifact of one stage of a run, made or not; reads nothing but the source files' fingerprints."""
    described = STAGES[stage]
    identity: dict[str, Any] = {section: getattr(run, section).identity() for section in described.sections}
    if stage == "ingest":
        identity["fingerprint"] = fingerprint(run.source)
    needs = described.needs
    if stage == "steps":
        identity["steps"] = [{**step.identity(), "code": code_stamp(step)} for step in run.steps]
    if stage == "chunk":
        needs = ("steps",) if run.steps else needs
        if run.chunk.needs_encoder:
            identity["encoder"] = run.encoder.identity()
    return locate(run.workspace, stage, identity, [artifact(run, need) for need in needs])
