"""What the evaluation measures and how much of it."""

from typing import ClassVar, Self

from pydantic import Field, field_validator, model_validator

from data.artifacts import StageConfig
from evaluation.metrics import DEFAULT_METRICS, parse_metric


class SearchJudging(StageConfig):
    """How search is judged."""

    execution: ClassVar[frozenset[str]] = frozenset({"batch_queries"})

    metrics: tuple[str, ...] = Field(
        DEFAULT_METRICS,
        min_length=1,
        description="of search: ndcg, recall, p, mrr, map and hit at any cut-off, and rprec; recall(rel=2)@100 counts "
        "grades of 2 and above. The first is the one that modes are compared by query for query",
    )
    retrieved: int = Field(100, ge=10, description="documents retrieved per query, the depth of Recall@100 and MAP")
    batch_queries: int = Field(64, ge=1, description="search queries sent at once")
    resamples: int = Field(10_000, ge=100, description="rounds of each bootstrap and each randomisation test")
    seed: int = Field(0, ge=0, description="seed of the sample of test links and of every resampling")

    @field_validator("metrics")
    @classmethod
    def _metrics_are_known(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        for name in metrics:
            parse_metric(name)
            if metrics.count(name) > 1:
                raise ValueError(f"metric {name!r} is there twice")
        return metrics

    @model_validator(mode="after")
    def _retrieves_what_is_measured(self) -> Self:
        for name in self.metrics:
            cutoff = parse_metric(name).cutoff or 0
            if cutoff > self.retrieved and name not in DEFAULT_METRICS:
                raise ValueError(f"metric {name!r} needs {cutoff} documents, and retrieved is {self.retrieved}")
        return self


class LinkJudging(StageConfig):
    """How link prediction is judged."""

    execution: ClassVar[frozenset[str]] = frozenset({"batch_sources"})

    max_test_links: int = Field(
        3000, ge=1, description="held-out links that are ranked, in both directions; a larger test split is sampled"
    )
    cutoffs: tuple[int, ...] = Field((10, 100), min_length=1, description="k of the links' Hit@k")
    hard_negatives: int = Field(
        500, ge=0, description="negatives that a link is ranked among which simple methods name; 0 leaves them out"
    )
    batch_sources: int = Field(256, ge=1, description="link sources scored against all documents at once, at most")
    resamples: int = Field(10_000, ge=100, description="rounds of each bootstrap and each randomisation test")
    seed: int = Field(0, ge=0, description="seed of the sample of test links and of every resampling")


class EvaluateConfig(SearchJudging, LinkJudging):
    """Sizes, seeds and cut-offs of the evaluation of search and of links, and of the encoder's gate."""

    gate_passages: int = Field(
        2000,
        ge=2,
        description="passages that the encoder's forms are compared on; those of relevant documents come first",
    )
    gate_questions: int = Field(500, ge=1, description="questions that the encoder's forms are compared by, at most")

    @property
    def search(self) -> SearchJudging:
        """The keys that decide the figures of search."""
        return SearchJudging(**self.model_dump(include=set(SearchJudging.model_fields)))

    @property
    def links(self) -> LinkJudging:
        """The keys that decide the figures of link prediction."""
        return LinkJudging(**self.model_dump(include=set(LinkJudging.model_fields)))
