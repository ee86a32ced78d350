"""What the evaluation measures and how much of it."""

from typing import ClassVar

from pydantic import Field

from data.artifacts import StageConfig


class EvaluateConfig(StageConfig):
    """Sizes, seeds and cut-offs of the evaluation of search and of links."""

    max_test_links: int = Field(
        3000, ge=1, description="held-out links that are ranked, in both directions; a larger test split is sampled"
    )
    cutoffs: tuple[int, ...] = Field((10, 100), min_length=1, description="k of the links' Hit@k")
    batch_sources: int = Field(256, ge=1, description="link sources scored against all documents at once")
    retrieved: int = Field(100, ge=10, description="documents retrieved per query, the depth of Recall@100 and MAP")
    batch_queries: int = Field(64, ge=1, description="search queries sent at once")
    resamples: int = Field(10_000, ge=100, description="rounds of each bootstrap and each randomisation test")
    gate_passages: int = Field(
        2000,
        ge=2,
        description="passages that the encoder's forms are compared on; those of relevant documents come first",
    )
    gate_questions: int = Field(500, ge=1, description="questions that the encoder's forms are compared by, at most")
    seed: int = Field(0, ge=0, description="seed of the sample of test links and of every resampling")

    execution: ClassVar[frozenset[str]] = frozenset(
        {"batch_sources", "batch_queries", "gate_passages", "gate_questions"}
    )
