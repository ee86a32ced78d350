"""Where each stage keeps its output: a folder named after the stage and the hash of its config and its inputs."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from data.errors import InputError
from data.files import remove_unfinished, report_full_disk
from data.locks import only_one

logger = logging.getLogger("catena")

FORMAT = 2  # of every artifact's folder; part of its identity, so that one of another format is made again


class StageResult(BaseModel):
    """Base of what a stage measured: frozen, written to ``result.json``, read back by the same class.

    ``seconds`` is what the stage took; ``materialise`` fills it in.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float = 0.0


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
        """What the stage measured, as JSON values; the stage's ``StageResult`` reads the same."""
        result: dict[str, Any] = json.loads((self.path / "result.json").read_text())
        return result


def locate(
    workspace: Path, stage: str, identity: Mapping[str, Any], inputs: Mapping[str, Artifact] = MappingProxyType({})
) -> Artifact:
    """Where a stage's output belongs; touches nothing on disk.

    Args:
        workspace: folder of all artifacts.
        stage: its name.
        identity: what decides its output besides its inputs, as JSON values.
        inputs: artifacts it reads, by what they are to it.
    """
    described = {
        "format": FORMAT,
        "stage": stage,
        "config": dict(identity),
        "inputs": {name: artifact.key for name, artifact in inputs.items()},
    }
    key = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
    return Artifact(stage, key, workspace.resolve() / stage / key, described)


def materialise(artifact: Artifact, work: Callable[[Path], StageResult]) -> Artifact:
    """Run a stage unless its artifact is already there.

    One process at a time works on an artifact: a second one waits, and keeps what the first has made.

    Args:
        artifact: where the output belongs.
        work: does the stage's work in the folder it is given and returns what it measured. It may find the files of an
            interrupted run there: it either continues them or overwrites them.

    Raises:
        InputError: if the workspace cannot be written, or the disk is full.
    """
    if not artifact.done:
        with _workspace_errors(artifact):
            artifact.path.mkdir(parents=True, exist_ok=True)
            (artifact.path / ".lock").touch()
        with only_one(artifact.path / ".lock", artifact.stage):
            if not artifact.done:
                with report_full_disk(artifact.path):
                    return _work(artifact, work)
    logger.info("%s: done before, kept (%s)", artifact.stage, artifact.path)
    return artifact


def _work(artifact: Artifact, work: Callable[[Path], StageResult]) -> Artifact:
    logger.info("%s: running (%s)", artifact.stage, artifact.path)
    with _workspace_errors(artifact):
        (artifact.path / "config.json").write_text(json.dumps(artifact.identity, indent=2, sort_keys=True))
    remove_unfinished(artifact.path)
    started = time.perf_counter()
    measured = work(artifact.path)
    result = measured.model_copy(update={"seconds": round(time.perf_counter() - started, 3)})
    (artifact.path / "result.json").write_text(result.model_dump_json(indent=2))
    (artifact.path / "_SUCCESS").touch()
    return artifact


@contextmanager
def _workspace_errors(artifact: Artifact) -> Iterator[None]:
    try:
        with report_full_disk(artifact.path):
            yield
    except OSError as error:
        raise InputError(
            f"the workspace cannot be written: {artifact.path}: {error.strerror}",
            "Make the folder writable, or choose another with --workspace.",
        ) from error
