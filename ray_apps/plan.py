"""Stages and the plan of a command: which artifacts it needs, where they belong, and how they are made.

A stage says what decides its output, which stages it reads, and what makes it. The plan hashes exactly what it hands
to that function: a stage cannot read what it does not declare.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from data.artifacts import Artifact, StageConfig, StageResult, locate, materialise
from data.encoders.config import EncoderConfig
from data.errors import StageAbsent
from ray_apps.config import RunConfig

logger = logging.getLogger("catena")

Config = TypeVar("Config", bound=StageConfig)
Result = TypeVar("Result", bound=StageResult)
Inputs = Mapping[str, Artifact]


@dataclass(frozen=True)
class Stage(Generic[Config, Result]):
    """One stage of a run.

    Args:
        name: of the stage and of the folder that holds its artifacts.
        result: class of what it measures.
        config: what decides its output, from the plan; with its execution fields, which only say how.
        make: does the work: handed the config, the artifacts of its needs, and the folder to fill.
        needs: the stages whose artifacts it reads, by what they are to it.
        permits: stages that may forbid the work but do not change its output: made before and handed to ``make`` as
            well, but not part of the artifact's key.
        wanted: whether ``catena run`` and the list of a run's stages have it.
        absent: why it cannot be made in this run, with the remedy; None where it can. Asked before and after its needs
            are brought, so it may depend on what they measured.
        stamps: what the config names but does not hold (digests of files, code, machine): it decides the output too.
        check: finds mistakes that can be known before anything is made.
        reuse: called with an artifact that an earlier command made.
        on_ray: whether ``make`` needs a connection to Ray; asked, where it is a function, when the needs are made.
        version: of the code that decides the output; raise it when the same inputs come out differently.
    """

    name: str
    result: type[Result]
    config: Callable[["Plan"], Config]
    make: Callable[[Config, Inputs, Path], Result]
    needs: Callable[["Plan"], Mapping[str, str]] = lambda plan: {}
    permits: Callable[["Plan"], Mapping[str, str]] = lambda plan: {}
    wanted: Callable[["Plan"], bool] = lambda plan: True
    absent: Callable[["Plan"], StageAbsent | None] = lambda plan: None
    stamps: Callable[[Config], Mapping[str, Any]] = lambda config: {}
    check: Callable[[Config], None] = lambda config: None
    reuse: Callable[[Config, Artifact], None] = lambda config, artifact: None
    on_ray: bool | Callable[["Plan"], bool] = False
    version: int = 1


@dataclass(frozen=True)
class _Step:
    """A stage in a plan: its config, its inputs (``needs`` and ``permits``) and its artifact."""

    stage: Stage[Any, Any]
    config: StageConfig
    inputs: Mapping[str, str]
    artifact: Artifact


class Plan:
    """The stages of one run, for one command. Configs, stamps and keys are computed once and remembered.

    Args:
        run: the run's configuration.
        stages: every stage there is, in an order in which needs come first; the product's own where None.
    """

    def __init__(self, run: RunConfig, stages: Mapping[str, Stage[Any, Any]] | None = None) -> None:
        if stages is None:
            from ray_apps.stages import STAGES

            stages = STAGES
        self.run = run
        self.stages = stages
        self._steps: dict[str, _Step] = {}
        self._seen: set[str] = set()

    @cached_property
    def encoder(self) -> EncoderConfig:
        """The run's encoder, in the precision that the gate allows where it has judged it on this machine."""
        from ray_apps.encoder.check import judged_encoder

        return judged_encoder(self)

    @property
    def documents(self) -> str:
        """The stage that has the documents table: ``steps`` where the run has steps of its own, else ``ingest``."""
        return "steps" if self.run.steps else "ingest"

    @property
    def vectors(self) -> str:
        """The stage that has the vectors for index and graph: ``reduce`` where the run makes them smaller."""
        return "reduce" if self.run.reduce.active else "embed"

    def names(self) -> list[str]:
        """The stages that this run has, in order."""
        return [name for name, stage in self.stages.items() if stage.wanted(self) and stage.absent(self) is None]

    def artifact(self, name: str) -> Artifact:
        """Where a stage's output is or would be; makes nothing."""
        return self._step(name).artifact

    def inputs(self, name: str) -> dict[str, Artifact]:
        """The artifacts that a stage reads, made or not, by what they are to it."""
        return {key: self.artifact(need) for key, need in self._step(name).inputs.items()}

    def result(self, stage: Stage[Any, Result]) -> Result | None:
        """What a stage measured; None where it is not done."""
        made = self.artifact(stage.name)
        return stage.result.model_validate_json((made.path / "result.json").read_text()) if made.done else None

    def bring(self, name: str) -> Artifact:
        """Make a stage's artifact, after those that it needs; what is done is kept.

        Raises:
            InputError: if the run has no such stage (``StageAbsent``), or a stage on the way finds a mistake.
        """
        self._check_missing(name, set())
        return self._bring(name)

    def _bring(self, name: str) -> Artifact:
        step = self._step(name)
        stage, made = step.stage, step.artifact
        if made.done:
            self._reuse(name)
            return made
        for need in step.inputs.values():
            self._bring(need)
            self._refuse_absent(stage)  # as soon as it is known: the next need may take an hour
        if stage.on_ray is True or (callable(stage.on_ray) and stage.on_ray(self)):
            from ray_apps.cluster import connect

            connect(self.run.ray)
        self._seen.add(name)
        return materialise(made, lambda out: stage.make(step.config, self.inputs(name), out))

    def _reuse(self, name: str) -> None:
        """Call ``reuse`` of a stage that an earlier command made, and before it of those that it was made from."""
        step = self._step(name)
        if name in self._seen or not step.artifact.done:
            return
        self._seen.add(name)
        for need in step.inputs.values():
            self._reuse(need)
        step.stage.reuse(step.config, step.artifact)

    def _check_missing(self, name: str, checked: set[str]) -> None:
        """Look for mistakes in every stage that is to be made, before minutes go into the first of them."""
        step = self._step(name)
        if name in checked or step.artifact.done:
            return
        checked.add(name)
        self._refuse_absent(step.stage)
        step.stage.check(step.config)
        for need in step.inputs.values():
            self._check_missing(need, checked)

    def _refuse_absent(self, stage: Stage[Any, Any]) -> None:
        reason = stage.absent(self)
        if reason is not None:
            raise reason

    def _step(self, name: str) -> _Step:
        if name not in self._steps:
            stage = self.stages[name]
            config, needs, permits = stage.config(self), dict(stage.needs(self)), dict(stage.permits(self))
            identity = {"version": stage.version, **config.identity(), **stage.stamps(config)}
            inputs = {key: self.artifact(need) for key, need in needs.items()}
            artifact = locate(self.run.workspace, name, identity, inputs)
            self._steps[name] = _Step(stage, config, {**needs, **permits}, artifact)
        return self._steps[name]
