"""Which stage needs which, and where each one's output belongs."""

from dataclasses import dataclass
from typing import Any

from data.artifacts import Artifact, locate
from data.sources import fingerprint
from ray_apps.config import RunConfig


@dataclass(frozen=True)
class Stage:
    """A stage's config sections (keys of the run file) and the stages whose output it reads.

    ``takes`` are read too where the run asks for them: a run that does not has the artifacts it had without them.
    """

    sections: tuple[str, ...]
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


STAGES = {
    "ingest": Stage(("source",)),
    "chunk": Stage(("chunk",), ("ingest",)),
    "embed": Stage(("encoder", "embed"), ("chunk",)),
    "late": Stage(("encoder", "late"), ("chunk", "embed")),
    "index": Stage(("index",), ("ingest", "chunk", "embed"), ("late",)),
    "graph": Stage(("graph",), ("ingest", "embed")),
    "train": Stage(("train",), ("graph",)),
    "matryoshka": Stage(("encoder", "matryoshka"), ("ingest",)),
    "evaluate": Stage(("evaluate",), ("ingest", "index", "train")),
    "discover": Stage(("discover",), ("ingest", "train")),
}


def asked_for(run: RunConfig, stage: str) -> bool:
    """Whether a run has a stage: one whose section is unset in the run file is left out."""
    return all(getattr(run, section) is not None for section in STAGES[stage].sections)


def artifact(run: RunConfig, stage: str) -> Artifact:
    """The artifact of one stage of a run, made or not; reads nothing but the source files' fingerprints."""
    described = STAGES[stage]
    identity: dict[str, Any] = {section: getattr(run, section).identity() for section in described.sections}
    if stage == "ingest":
        identity["fingerprint"] = fingerprint(run.source)
    needs = [*described.needs, *(taken for taken in described.takes if asked_for(run, taken))]
    return locate(run.workspace, stage, identity, [artifact(run, need) for need in needs])
