"""Which questions a cross-encoder is trained on, from which weights, and how."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from data.artifacts import StageConfig
from training.config import OptimizerConfig, SpreadConfig

TRAINED = "trained"  # what names the run's own cross-encoder in the place of a folder, and its folder in the artifact
QUESTIONS = {"learn_from", "split", "learn_share", "valid_share", "max_questions"}  # keys that say what is learned from


class RankerOptimizerConfig(OptimizerConfig):
    """The optimiser of a transformer that is trained already, with a head that is not: low rates, few epochs."""

    learning_rate: float = Field(8e-5, gt=0, lt=1, description="peak learning rate of the transformer")
    epochs: int = Field(5, ge=1, description="most epochs to train, each over all questions")
    patience: int = Field(1, ge=1, description="epochs without a better validation nDCG@10 before training stops")


class RankerConfig(StageConfig):
    """Which cross-encoder reranks in `catena evaluate`, and how `catena ranker train` makes one."""

    execution: ClassVar[frozenset[str]] = frozenset({"model", "piece_pairs"})

    model: str | None = Field(
        None,
        min_length=1,
        description="cross-encoder that `catena evaluate` judges as `reranked`: trained, which is the run's own, made "
        "where it is missing; or a folder; none where unset",
    )
    depth: int = Field(
        50, ge=2, le=1000, description="documents of hybrid search that it reads for a question, in training too"
    )
    base: str = Field(
        "all-MiniLM-L6-v2",
        min_length=1,
        description="what it begins with: a transformer's folder, or a name on the hub; its head is new",
    )
    learn_from: Literal["auto", "qrels", "links"] = Field(
        "auto", description="answered questions, or linked documents; auto takes questions where the corpus has them"
    )
    split: str = Field(
        "train",
        min_length=1,
        description="of a BEIR folder, judgments that are learned from: a file in qrels/ other than source.beir.split",
    )
    learn_share: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="share of the run's own questions that is learned from where there are no others; "
        "`catena evaluate` leaves these out then",
    )
    valid_share: float = Field(
        0.15, gt=0, lt=0.5, description="share of what is learned from that is held out: it chooses the best epoch"
    )
    max_questions: int = Field(20_000, ge=2, description="most questions taken; more are sampled")
    max_valid_questions: int = Field(
        200, ge=1, description="most held-out questions that are reranked after each epoch"
    )
    made_questions: int = Field(
        0,
        ge=0,
        description="questions made of the corpus beside these: a sentence asks for the document it is taken out of",
    )
    rank_prior: float = Field(
        0.0,
        ge=0,
        description="in training, so many times ln(rank) is taken off a logit: the ranker learns what the order of "
        "search does not say; 0 has it learn to rank alone",
    )
    list_documents: int = Field(8, ge=2, description="documents of a question in a batch: one answers, others are near")
    batch_questions: int = Field(4, ge=1, description="questions in a worker's batch")
    piece_pairs: int = Field(16, ge=1, description="pairs computed at once, of like length")
    max_length: int = Field(256, ge=8, description="tokens of a pair; of a longer one the document is cut")
    frozen_layers: int = Field(
        0, ge=0, description="lowest layers left as they are; above 0 the word embeddings are too"
    )
    head_rate: float = Field(10.0, gt=0, description="learning rate of the head, as a multiple of the transformer's")
    optimizer: RankerOptimizerConfig = Field(RankerOptimizerConfig(), description="how it is trained")
    spread: SpreadConfig = Field(SpreadConfig(), description="over how many workers the training is spread")

    @property
    def questions(self) -> "RankerConfig":
        """The keys that decide which questions are learned from, and defaults in the place of all others."""
        kept = self.model_dump(include=QUESTIONS)
        return RankerConfig(**kept, optimizer=RankerOptimizerConfig(seed=self.optimizer.seed))

    @field_validator("spread")
    @classmethod
    def _on_replicas(cls, spread: SpreadConfig) -> SpreadConfig:
        if spread.strategy != "ddp":
            raise ValueError(f"a cross-encoder is trained on replicas, strategy: ddp, not {spread.strategy}")
        return spread
