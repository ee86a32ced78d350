"""Where each stage keeps its output: a folder named after the stage and the hash of its config and its inputs."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from data.errors import InputError, full_disk_told
from data.locks import only_one

logger = logging.getLogger("catena")


class StageConfig(BaseModel):
    """Base of every stage's config: frozen, and no unknown keys.

    ``execution`` names the fields that say how the work is done rather than what comes out (actors, threads):
    they are left out of the artifact's identity.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    execution: ClassVar[frozenset[str]] = frozenset()

    def identity(self) -> dict[str, Any]:
        """The fields that decide the output, as JSON values; of a config inside this one, those that decide its own."""
        fields = self.model_dump(mode="json", exclude=set(self.execution))
        return {name: _identity(getattr(self, name), value) for name, value in fields.items()}


def _identity(value: object, dumped: object) -> object:
    if isinstance(value, StageConfig):
        return value.identity()
    if isinstance(value, tuple) and isinstance(dumped, list):
        return [_identity(inner, of_inner) for inner, of_inner in zip(value, dumped, strict=True)]
    return dumped


@dataclass(frozen=True)
class Artifact:
    """The output of one stage under one config and one set of inputs."""

    stage: str
    key: str
    path: Path
    identity: Mapping[str, Any]

    @property
    def done(self) -> bool:
        """Whether the stage finished: its marker is written last."""
        return (self.path / "_SUCCESS").exists()

    @property
    def result(self) -> dict[str, Any]:
        """What the stage measured: counts, rates, figures, ``seconds``."""
        result: dict[str, Any] = json.loads((self.path / "result.json").read_text())
        return result


def locate(workspace: Path, stage: str, identity: Mapping[str, Any], inputs: Iterable[Artifact] = ()) -> Artifact:
    """Where a stage's output belongs; touches nothing on disk."""
    described = {"stage": stage, "config": dict(identity), "inputs": sorted(a.key for a in inputs)}
    key = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
    return Artifact(stage, key, workspace.resolve() / stage / key, described)


def materialise(artifact: Artifact, work: Callable[[Path], Mapping[str, Any]]) -> Artifact:
    """Run a stage unless its artifact is already there.

    One process at a time works on an artifact: a second one waits, and keeps what the first has made.

    Args:
        artifact: where the output belongs.
        work: does the stage's work in the folder it is given and returns what it measured (JSON values). It may find
            the files of an interrupted run there: it either continues them or overwrites them.

    Raises:
        InputError: if the workspace cannot be written, or the disk is full.
    """
    if not artifact.done:
        with _workspace_errors(artifact):
            artifact.path.mkdir(parents=True, exist_ok=True)
            (artifact.path / ".lock").touch()
        with only_one(artifact.path / ".lock", artifact.stage):
            if not artifact.done:
                with full_disk_told(artifact.path):
                    return _work(artifact, work)
    logger.info("%s: done before, kept (%s)", artifact.stage, artifact.path)
    return artifact


def _work(artifact: Artifact, work: Callable[[Path], Mapping[str, Any]]) -> Artifact:
    logger.info("%s: running (%s)", artifact.stage, artifact.path)
    with _workspace_errors(artifact):
        (artifact.path / "config.json").write_text(json.dumps(artifact.identity, indent=2, sort_keys=True))
    for cut_short in artifact.path.rglob(".*.unfinished"):  # of a job that was killed while it wrote
        cut_short.unlink(missing_ok=True)
    started = time.perf_counter()
    result = {**work(artifact.path), "seconds": round(time.perf_counter() - started, 3)}
    (artifact.path / "result.json").write_text(json.dumps(result, indent=2))
    (artifact.path / "_SUCCESS").touch()
    return artifact


@contextmanager
def _workspace_errors(artifact: Artifact) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the workspace cannot be written: {artifact.path}: {error.strerror}",
            "Make the folder writable, free some space, or choose another with --workspace.",
        ) from error
