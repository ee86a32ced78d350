"""Which stage needs which, and where each one's output belongs."""

from dataclasses import dataclass
from typing import Any

from data.artifacts import Artifact, locate
from data.sources import fingerprint
from ray_apps.config import RunConfig


@dataclass(frozen=True)
class Stage:
    """A stage's config sections (keys of the run file) and the stages whose output it reads.

    ``vectors`` stands for ``reduce`` where the run makes vectors smaller, and for ``embed`` where it does not.
    """

    sections: tuple[str, ...]
    needs: tuple[str, ...] = ()


STAGES = {
    "ingest": Stage(("source",)),
    "chunk": Stage(("chunk",), ("ingest",)),
    "embed": Stage(("encoder", "embed"), ("chunk",)),
    "reduce": Stage(("reduce",), ("embed",)),
    "index": Stage(("index",), ("ingest", "chunk", "vectors")),
    "graph": Stage(("graph",), ("ingest", "vectors")),
    "train": Stage(("train",), ("graph",)),
    "evaluate": Stage(("evaluate",), ("ingest", "index", "train")),
    "discover": Stage(("discover",), ("ingest", "train")),
}


def artifact(run: RunConfig, stage: str) -> Artifact:
    """The artifact of one stage of a run, made or not; reads nothing but the source files' fingerprints."""
    described = STAGES[stage]
    identity: dict[str, Any] = {section: getattr(run, section).identity() for section in described.sections}
    if stage == "ingest":
        identity["fingerprint"] = fingerprint(run.source)
    needs = [("reduce" if run.reduce.active else "embed") if need == "vectors" else need for need in described.needs]
    return locate(run.workspace, stage, identity, [artifact(run, need) for need in needs])


def stages_of(run: RunConfig) -> list[str]:
    """The stages that a run has, in order."""
    return [stage for stage in STAGES if stage != "reduce" or run.reduce.active]
