"""Which stage needs which, and where each one's output belongs."""

from dataclasses import dataclass
from typing import Any

from data.artifacts import Artifact, locate
from data.encoders.exact import exact_form
from data.encoders.files import contents
from data.passages.steps import code_stamp
from data.sources import fingerprint
from ray_apps.config import RunConfig


@dataclass(frozen=True)
class Stage:
    """A stage's config sections (keys of the run file) and the stages whose output it reads.

    ``vectors`` stands for ``reduce`` where the run makes vectors smaller, and for ``embed`` where it does not; ``late``
    is left out where the run keeps no token vectors.
    """

    sections: tuple[str, ...]
    needs: tuple[str, ...] = ()


STAGES = {
    "ingest": Stage(("source",)),
    "steps": Stage((), ("ingest",)),
    "chunk": Stage(("chunk",), ("ingest",)),
    "embed": Stage(("encoder", "embed"), ("chunk",)),
    "late": Stage(("late",), ("chunk", "embed")),
    "reduce": Stage(("reduce",), ("embed",)),
    "index": Stage(("index",), ("ingest", "chunk", "vectors", "late")),
    "graph": Stage(("graph",), ("ingest", "vectors")),
    "train": Stage(("train",), ("graph",)),
    "matryoshka": Stage(("encoder", "matryoshka"), ("ingest",)),
    "evaluate": Stage(("evaluate",), ("ingest", "index", "train")),
    "discover": Stage(("discover",), ("ingest", "train")),
}


def stages_of(run: RunConfig) -> tuple[str, ...]:
    """Names of a run's stages, in order: those that a run has only where it asks for them are left out else."""
    asked = {
        "steps": bool(run.steps),
        "late": run.late is not None,
        "reduce": run.reduce.active,
        "matryoshka": run.matryoshka is not None,
    }
    return tuple(stage for stage in STAGES if asked.get(stage, True))


def artifact(run: RunConfig, stage: str) -> Artifact:
    """The artifact of one stage of a run, made or not; reads nothing but the source files' fingerprints."""
    described = STAGES[stage]
    identity: dict[str, Any] = {section: getattr(run, section).identity() for section in described.sections}
    if stage == "ingest":
        identity["fingerprint"] = fingerprint(run.source)
    needs = [("reduce" if run.reduce.active else "embed") if need == "vectors" else need for need in described.needs]
    needs = [need for need in needs if need != "late" or run.late is not None]
    if stage == "steps":
        identity["steps"] = [{**step.identity(), "code": code_stamp(step)} for step in run.steps]
    if stage == "chunk":
        needs = ["steps"] if run.steps else needs
        if run.chunk.needs_encoder:
            identity["encoder"] = exact_form(run.encoder).identity()
    if "encoder" in identity and (files := contents(run.encoder)):
        identity["encoder_files"] = files
    return locate(run.workspace, stage, identity, [artifact(run, need) for need in needs])
