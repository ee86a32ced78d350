"""Which ways to search a run has, and what these need."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from data.artifacts import Artifact
from data.encoders.files import digest
from data.errors import InputError
from data.passages.steps import StepConfig, code_stamp
from ray_apps.config import RunConfig
from ray_apps.plan import Plan
from ray_apps.ranker import ranker_folder, ranker_needs
from retrieval.steps import CallStep, Ranks, Step, every_pipeline, links_in, models_in, named
from training.cross_encoder.config import TRAINED

BOOSTED: Literal["boosted"] = "boosted"  # the step, the stage, and what its artifact is to stages that read it

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
    models = models_in(pipelines)
    cross_encoder = ranker_needs(plan) if "cross-encoder" in models else {}
    boosted: dict[str, str] = {BOOSTED: BOOSTED} if BOOSTED in models else {}
    return {**cross_encoder, **boosted, **({"links": "lookup"} if links_in(pipelines) else {})}


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
        retriever: that they ask; it follows links from now on, where they do.
        pipelines: by name.
        ranker: cross-encoder, as ``RunConfig.cross_encoder`` has it.
        inputs: what ``pipeline_needs`` has named.

    Raises:
        InputError: if a pipeline needs what is not there, or a model cannot be opened.
    """
    from retrieval.pipelines import PipelineSearch

    if links_in(pipelines):
        from retrieval.expansion import LinkExpander
        from serving.lookup import LookupFile

        links = LookupFile(inputs["links"].path)
        retriever.expander = LinkExpander(retriever.index.query_batch, retriever.meta, links)
    return PipelineSearch(retriever, pipelines, open_rankers(pipelines, ranker, inputs))


def open_rankers(
    pipelines: Mapping[str, tuple[Step, ...]], ranker: str | None, inputs: Mapping[str, Artifact]
) -> "dict[Ranks, Ranker]":
    """The models that pipelines rank by; otherwise as ``open_pipelines``."""
    from retrieval.boosted import BoostedRanker
    from retrieval.reranking import Reranker

    named, rankers = models_in(pipelines), dict[Ranks, "Ranker"]()
    folder = ranker_folder(ranker, inputs)
    if "cross-encoder" in named and folder is not None:
        rankers["cross-encoder"] = Reranker.open(folder, "ranker.model")
    if BOOSTED in named:
        rankers[BOOSTED] = BoostedRanker.open(boosted_folder(inputs))
    return rankers


def boosted_folder(inputs: Mapping[str, Artifact]) -> Path:
    """The run's boosted trees, as they can be opened."""
    return inputs[BOOSTED].path / TRAINED


def ranker_folders(
    pipelines: Mapping[str, tuple[Step, ...]], ranker: str | None, inputs: Mapping[str, Artifact]
) -> list[Path]:
    """Where the models are that pipelines rank by, which know what they were trained on; as of ``open_pipelines``."""
    folder, named = ranker_folder(ranker, inputs), models_in(pipelines)
    cross_encoder = [Path(folder)] if folder is not None and "cross-encoder" in named else []
    return [*cross_encoder, *([boosted_folder(inputs)] if BOOSTED in named else [])]


def served_boosted(plan: Plan) -> Path | None:
    """The folder of the boosted trees that the run's pipelines rank by; None where none does.

    Raises:
        InputError: if they were not trained.
    """
    if BOOSTED not in models_in(plan.run.pipelines):
        return None
    made = plan.artifact(BOOSTED)
    if not made.done:
        raise InputError(
            f"pipelines: rank: boosted, and there are no trained trees at {made.path}",
            "`catena ranker boost RUN.yaml` makes them.",
        )
    return boosted_folder({BOOSTED: made}).resolve()
