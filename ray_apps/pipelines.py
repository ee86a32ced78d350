"""Which ways to search a run has, and what these need."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.artifacts import Artifact
from data.encoders.files import digest
from data.errors import InputError
from data.passages.steps import StepConfig, code_stamp
from ray_apps.config import RunConfig
from ray_apps.plan import Plan
from ray_apps.ranker import ranker_folder, ranker_needs
from retrieval.steps import CallStep, Ranks, Step, every_pipeline, models_in, named
from training.cross_encoder.config import TRAINED

if TYPE_CHECKING:
    from retrieval.pipelines import PipelineSearch, Ranker
    from retrieval.search import Retriever


def pipelines_of(run: RunConfig) -> dict[str, tuple[Step, ...]]:
    """All pipelines of a run by name, those that are built in first."""
    return every_pipeline(run.pipelines, run.late is not None, run.ranker.depth if run.cross_encoder else None)


def named_pipeline(run: RunConfig, name: str) -> tuple[Step, ...]:
    """The steps of a pipeline.

    Raises:
        InputError: if there is none of that name; the nearest is named.
    """
    every = pipelines_of(run)
    if name == "late" and name not in every:
        raise InputError(
            "mode late: the index holds no token vectors", "Add `late: {}` to the run file and index again."
        )
    return named(every, name)


def pipeline_needs(plan: Plan, pipelines: Mapping[str, tuple[Step, ...]]) -> dict[str, str]:
    """What a stage that searches by some pipelines needs for them."""
    return ranker_needs(plan) if "cross-encoder" in models_in(pipelines) else {}


def pipeline_stamps(pipelines: Mapping[str, tuple[Step, ...]], ranker: str | None) -> dict[str, Any]:
    """Digests of the user's code and models that pipelines use; what is trained in the run is an input of its own.

    Raises:
        InputError: if there is no such code.
    """
    called = {step.call for steps in pipelines.values() for step in steps if isinstance(step, CallStep)}
    stamps: dict[str, Any] = {f"step {path}": code_stamp(StepConfig(path=path)) for path in sorted(called)}
    folder = None if ranker in (None, TRAINED) else Path(str(ranker)).expanduser()
    return {**stamps, "ranker": digest(folder)} if folder is not None and folder.is_dir() else stamps


def open_pipelines(
    retriever: "Retriever",
    pipelines: Mapping[str, tuple[Step, ...]],
    ranker: str | None,
    inputs: Mapping[str, Artifact],
) -> "PipelineSearch":
    """Searching by pipelines, with the models that these name.

    Args:
        retriever: that they ask.
        pipelines: by name.
        ranker: cross-encoder, as ``RunConfig.cross_encoder`` has it.
        inputs: what ``pipeline_needs`` has named.

    Raises:
        InputError: if a pipeline needs what is not there, or a model cannot be opened.
    """
    from retrieval.pipelines import PipelineSearch
    from retrieval.reranking import Reranker

    named, rankers = models_in(pipelines), dict[Ranks, "Ranker"]()
    folder = ranker_folder(ranker, inputs)
    if "cross-encoder" in named and folder is not None:
        rankers["cross-encoder"] = Reranker.open(folder, "ranker.model")
    return PipelineSearch(retriever, pipelines, rankers)
