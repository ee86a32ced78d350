"""A pipeline as a run file has it: a list of steps from a question to documents, best first.

The first step finds documents in the index; each one after it is given the best of those before it and puts them in
order by scores of its own. So a funnel is a longer list.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from data.artifacts import StageConfig
from data.errors import InputError, nearest
from data.imports import IMPORT_PATH
from retrieval.config import Fusing, ListWeights, Mode

DEFAULT = "default"  # the pipeline of a user who names none
RERANKED = "reranked"  # hybrid search, its best documents put in the order of the run's cross-encoder
FURTHER = 100  # documents that a step hands on, where its list does not say

Ranks = Literal["cross-encoder", "boosted"]
Depth = Annotated[int, Field(ge=1, le=1000)]
MinScore = Annotated[float | None, Field(allow_inf_nan=False, description="documents with a lower score are left out")]


class FindStep(StageConfig):
    """Documents that the index has for a question."""

    find: Literal["hybrid", "dense", "bm25"] = Field(description="by vectors, by words, or by both lists fused")
    depth: Depth = Field(
        FURTHER, description="documents handed on, and from which pages are cut; where neither, as many as are wanted"
    )
    weights: ListWeights | None = Field(
        None, description="of the lists in the fusion, as {dense: 0.7, bm25: 0.3}; the index's own where null"
    )
    fusion: Fusing | None = Field(None, description="how the lists become one; as of `index.fusion` where null")
    min_score: MinScore = None

    @model_validator(mode="after")
    def _fuses_lists(self) -> Self:
        if self.find != "hybrid" and (self.weights or self.fusion):
            raise ValueError(f"find: {self.find} is one list; weights and fusion go with `find: hybrid`")
        return self


class TokensStep(StageConfig):
    """The best passages put in order by the vectors of their tokens (MaxSim); others are left out."""

    rank: Literal["tokens"]
    depth: Depth = Field(FURTHER, description="passages that are put in order")


class ExpandStep(StageConfig):
    """Documents that the best ones have links to, lifted, or added where they were not found."""

    expand: Literal["known", "discovered", "both"] = Field(
        description="by links of the corpus, by those that `catena discover` has found, or by both"
    )
    depth: Depth = Field(3, description="best documents whose links are followed")
    weight: float = Field(1.0, gt=0, le=10, description="of what links give, against a document's own score")
    most: int = Field(20, ge=0, le=1000, description="documents added, at most")


class RankStep(StageConfig):
    """The best documents put in order by a model; those below stay as they are."""

    rank: Ranks = Field(description="by the run's cross-encoder, whose scores are from 0 to 1, or its boosted trees")
    depth: Depth = Field(50, description="documents that are put in order")
    min_score: MinScore = None


class CallStep(StageConfig):
    """A function or class of your own, of a question with its documents, or of a list of such."""

    call: str = Field(pattern=IMPORT_PATH, description="import path, my_package.steps:newest_first")
    arguments: dict[str, Any] = Field({}, description="keyword arguments of the function or of the constructor")
    depth: Depth = Field(FURTHER, description="documents that it is given; others are left out")


Step = FindStep | TokensStep | ExpandStep | RankStep | CallStep
KINDS: Mapping[str, type[StageConfig]] = {
    "find": FindStep,
    "tokens": TokensStep,
    "expand": ExpandStep,
    "rank": RankStep,
    "call": CallStep,
}
"""Steps by what pydantic names them in the place of an error."""


def _is_a_step(step: object) -> object:
    if isinstance(step, StageConfig):
        return step
    keys = [key for key in KINDS if key != "tokens"]
    if not isinstance(step, Mapping) or not step:
        raise ValueError(f"a step is a mapping with one of the keys {', '.join(keys)}")
    named = [key for key in keys if key in step]
    if len(named) != 1:
        wrong = next(iter(step)) if not named else " and ".join(named)
        raise ValueError(f"unknown step {wrong}; {nearest(str(wrong), keys)}")
    return step


def _kind(step: object) -> str | None:
    if isinstance(step, StageConfig):
        return next((name for name, kind in KINDS.items() if isinstance(step, kind)), None)
    assert isinstance(step, Mapping), "checked before"
    return "tokens" if step.get("rank") == "tokens" else next(key for key in KINDS if key in step)


def _in_order(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """What is done where the index is comes first: finding, then token vectors, then links."""
    if not steps or not isinstance(steps[0], FindStep):
        raise ValueError("the first step finds documents: {find: hybrid}, {find: dense} or {find: bm25}")
    if steps[0].min_score is not None and any(isinstance(step, TokensStep | ExpandStep) for step in steps):
        raise ValueError("min_score of `find` does not go with `rank: tokens` or `expand`, whose scores are others")
    places = {FindStep: 0, TokensStep: 1, ExpandStep: 2}
    before = [places.get(type(step), 3) for step in steps]
    for place, (one, next_) in enumerate(pairwise(before), 1):
        if next_ < one or (next_ == one < 3):
            name = next(key for key in ("find", "rank", "expand") if key in type(steps[place]).model_fields)
            raise ValueError(
                f"step {place} ({name}) comes too late: `find` is first and alone, then `rank: tokens`, then `expand`, "
                "each once at most, then the others"
            )
    return steps


OneStep = Annotated[
    Annotated[
        Annotated[FindStep, Tag("find")]
        | Annotated[TokensStep, Tag("tokens")]
        | Annotated[ExpandStep, Tag("expand")]
        | Annotated[RankStep, Tag("rank")]
        | Annotated[CallStep, Tag("call")],
        Discriminator(_kind),
    ],
    BeforeValidator(_is_a_step),
]
Pipeline = Annotated[tuple[OneStep, ...], AfterValidator(_in_order)]

BUILT_IN: Mapping[str, tuple[Step, ...]] = {
    "bm25": (FindStep(find="bm25"),),
    "dense": (FindStep(find="dense"),),
    "hybrid": (FindStep(find="hybrid"),),
    "late": (FindStep(find="hybrid"), TokensStep(rank="tokens")),
}
"""A pipeline for each mode; the last needs token vectors."""


def _not_built_in(name: str) -> str:
    if name in (*BUILT_IN, RERANKED):
        raise ValueError(f"the pipeline {name} is built in; choose another name")
    return name


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$"), AfterValidator(_not_built_in)]
Pipelines = dict[Name, Pipeline]


def every_pipeline(own: Mapping[str, tuple[Step, ...]], late: bool, depth: int | None) -> dict[str, tuple[Step, ...]]:
    """All pipelines of a run by name: its own, and those that are built in.

    Args:
        own: of the run file.
        late: whether its index holds token vectors.
        depth: documents that its cross-encoder reads in ``reranked``; None where it has none.
    """
    built_in = {name: steps for name, steps in BUILT_IN.items() if late or name != "late"}
    if depth is not None:
        built_in[RERANKED] = (FindStep(find="hybrid", depth=depth), RankStep(rank="cross-encoder", depth=depth))
    return {DEFAULT: BUILT_IN["hybrid"], **built_in, **own}


def named(pipelines: Mapping[str, tuple[Step, ...]], name: str) -> tuple[Step, ...]:
    """The steps of a pipeline.

    Raises:
        InputError: if there is none of that name; the nearest is named.
    """
    if name not in pipelines:
        raise InputError(
            f"there is no pipeline {name!r}; {nearest(name, pipelines)}",
            "Name one of those, or add it to `pipelines` in the run file.",
        )
    return pipelines[name]


def models_in(pipelines: Mapping[str, tuple[Step, ...]]) -> set[str]:
    """What the pipelines rank by."""
    return {step.rank for steps in pipelines.values() for step in steps if isinstance(step, RankStep | TokensStep)}


def links_in(pipelines: Mapping[str, tuple[Step, ...]]) -> set[str]:
    """The links that the pipelines follow: ``known``, ``discovered``, ``both``."""
    return {step.expand for steps in pipelines.values() for step in steps if isinstance(step, ExpandStep)}


def mode_of(steps: tuple[Step, ...]) -> Mode:
    """How the documents of a pipeline are found."""
    tokens = any(isinstance(step, TokensStep) for step in steps)
    assert isinstance(steps[0], FindStep), "checked when it was read"
    return "late" if tokens else steps[0].find
