"""Which pipeline a ranker of boosted trees is trained for, and how."""

from typing import ClassVar

from pydantic import Field, field_validator

from data.artifacts import StageConfig
from data.errors import InputError
from retrieval.filters import parse_path

TRAINED = "trained"  # the folder in the artifact


class BoostedConfig(StageConfig):
    """How `catena ranker boost` trains; which questions it learns from is said by the section `ranker`."""

    execution: ClassVar[frozenset[str]] = frozenset(
        {"threads", "pipeline", "depth"}
    )  # the steps of the pipeline are hashed

    pipeline: str | None = Field(
        None,
        min_length=1,
        description="pipeline whose steps before `rank: boosted` find the candidates; unset: the first one that has "
        "that step, else hybrid",
    )
    depth: int = Field(50, ge=2, le=1000, description="candidates of a question, where the pipeline does not say it")
    date: str | None = Field(
        None,
        min_length=1,
        description="key of the metadata with a document's date or year, as published or issue.year: its age is a "
        "feature then",
    )
    trees: int = Field(400, ge=1, le=10_000, description="most trees; how many is chosen on held-out questions")
    patience: int = Field(80, ge=1, description="trees without a better held-out nDCG@10 before no more are tried")
    learning_rate: float = Field(0.05, gt=0, le=1, description="share of each tree's values that is added")
    leaves: int = Field(8, ge=2, le=1024, description="most leaves of a tree")
    leaf_candidates: int = Field(50, ge=1, description="fewest candidates in a leaf")
    feature_share: float = Field(0.7, gt=0, le=1, description="share of the features, drawn anew, that a tree may use")
    rising: bool | None = Field(
        None,
        description="whether more of a score, rank or share of words may never lower a candidate's score, which suits "
        "few questions; unset: what is better on held-out ones",
    )
    folds: int = Field(
        5, ge=2, le=20, description="parts of the questions; each is judged by trees that were trained on the others"
    )
    seed: int = Field(0, ge=0, description="of the parts, of the features drawn and of the test")
    threads: int = Field(
        1,
        ge=1,
        description="cores that training uses; the trees are the same with any number. Shared ones wait for "
        "each other: two that others use too took ten times as long as one",
    )

    @field_validator("date")
    @classmethod
    def _date_is_a_path(cls, date: str | None) -> str | None:
        if date is not None:
            try:
                parse_path(date)
            except InputError as error:
                raise ValueError(error.problem) from error
        return date
