"""How documents are cut: the keys of section ``chunk``."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from data.artifacts import StageConfig

Strategy = Literal["recursive", "fixed", "semantic", "hierarchical"]


READS: dict[Strategy, frozenset[str]] = {
    "recursive": frozenset({"max_chars", "overlap_chars"}),
    "fixed": frozenset({"max_tokens", "overlap_tokens"}),
    "semantic": frozenset({"max_chars", "min_chars", "percentile"}),
    "hierarchical": frozenset({"max_chars", "overlap_chars", "parent_chars"}),
}


READ_BY_ALL = frozenset({"with_title", "partition_rows"})


class ChunkConfig(StageConfig):
    """How documents are cut."""

    strategy: Strategy = Field(
        "recursive",
        description="recursive cuts at paragraphs, sentences, lines, words; fixed after a number of tokens; semantic "
        "where adjacent sentences differ most; hierarchical like recursive, but search returns the larger passage",
    )
    max_chars: int | None = Field(
        1000,
        ge=50,
        description="longest passage, in characters; the default encoder reads 256 tokens, about 1,100 characters "
        "of English; null keeps each document whole, and the encoder reads its beginning",
    )
    overlap_chars: int = Field(100, ge=0, description="characters that a passage repeats of the one before it, at most")
    max_tokens: int = Field(
        200, ge=8, description="fixed: longest passage, in the encoder's tokens (or words, where it has no tokenizer)"
    )
    overlap_tokens: int = Field(20, ge=0, description="fixed: tokens that a passage repeats of the one before, at most")
    min_chars: int = Field(200, ge=1, description="semantic: shortest passage that may end at such a distance")
    percentile: float = Field(
        90.0,
        ge=0,
        le=100,
        description="semantic: passages end where the distance of two sentences is above this percentile",
    )
    parent_chars: int = Field(
        4000, ge=100, description="hierarchical: longest passage that search returns, in characters"
    )
    with_title: bool = Field(True, description="whether the document's title is embedded with each of its passages")
    partition_rows: int = Field(
        2048, ge=1, description="most passages in a partition, the unit of embedding and of resuming"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        reads = READS[self.strategy] | READ_BY_ALL | {"strategy"}
        for key, field in type(self).model_fields.items():
            if key not in reads and getattr(self, key) != field.default:
                readers = " and ".join(strategy for strategy, keys in READS.items() if key in keys)
                raise ValueError(f"{key} is read by strategy {readers} only, and the strategy is {self.strategy}")
        for unit in ("chars", "tokens"):
            longest, overlap = getattr(self, f"max_{unit}"), getattr(self, f"overlap_{unit}")
            if f"overlap_{unit}" in reads and longest is not None and overlap * 4 > longest:
                raise ValueError(f"overlap_{unit} is at most a quarter of max_{unit} ({longest}), got {overlap}")
        if self.strategy in ("semantic", "hierarchical") and self.max_chars is None:
            raise ValueError(f"strategy {self.strategy} needs max_chars")
        if self.strategy == "semantic" and self.min_chars * 2 > (self.max_chars or 0):
            raise ValueError(f"min_chars is at most half of max_chars ({self.max_chars}), got {self.min_chars}")
        if self.strategy == "hierarchical" and self.parent_chars < (self.max_chars or 0):
            raise ValueError(f"parent_chars is at least max_chars ({self.max_chars}), got {self.parent_chars}")
        return self

    def identity(self) -> dict[str, Any]:
        """The strategy and the keys that it reads: another's keys do not change what comes out."""
        reads = READS[self.strategy] | READ_BY_ALL | {"strategy"}
        return {key: value for key, value in super().identity().items() if key in reads}
