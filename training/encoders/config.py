"""How encoders are fine-tuned, and how the attention of an ensemble is learned."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from data.artifacts import StageConfig
from training.config import OptimizerConfig, SpreadConfig


def falling(dims: tuple[int, ...]) -> tuple[int, ...]:
    """Dimensions that vectors are cut to, checked.

    Raises:
        ValueError: if one is below 1, or they do not fall.
    """
    if dims and (min(dims) < 1 or list(dims) != sorted(set(dims), reverse=True)):
        raise ValueError(f"dims must be at least 1 and fall, got {list(dims)}")
    return dims


class MatryoshkaConfig(StageConfig):
    """Which pairs an encoder is fine-tuned on, for which dimensions, and how."""

    execution: ClassVar[frozenset[str]] = frozenset({"max_failures"})

    pairs: Literal["links", "qrels"] = Field(
        "links", description="linked documents, or the corpus's questions with the documents that answer them"
    )
    dims: tuple[int, ...] = Field(
        (384, 192, 96, 48, 24), min_length=1, description="dimensions that are to be usable, largest first"
    )
    epochs: int = Field(3, ge=1, description="times every training pair is seen")
    batch_pairs: int = Field(32, ge=2, description="pairs in a worker's batch: each is a negative of all others")
    temperature: float = Field(0.05, gt=0, description="cosines are divided by it in the softmax")
    learning_rate: float = Field(2e-5, gt=0, lt=1, description="peak learning rate of AdamW")
    weight_decay: float = Field(1e-2, ge=0, description="decoupled weight decay")
    warmup_fraction: float = Field(0.1, ge=0, lt=1, description="share of all steps over which the rate rises")
    clip_norm: float = Field(1.0, gt=0, description="largest norm of the gradient")
    frozen_layers: int = Field(
        0, ge=0, description="lowest layers left as they are; above 0 the word embeddings are too"
    )
    max_length: int = Field(128, ge=3, description="tokens read of a text in training, at most those the model reads")
    max_pairs: int = Field(100_000, ge=2, description="most pairs taken; more are sampled")
    valid_share: float = Field(0.1, gt=0, lt=1, description="share of the pairs (of the questions) held out")
    max_valid_pairs: int = Field(500, ge=1, description="most held-out pairs that are ranked after each epoch")
    seed: int = Field(0, ge=0, description="seed of split, shuffling and dropout")
    workers: int = Field(1, ge=1, description="Ray Train workers; more than one train data-parallel (DDP)")
    use_gpu: bool = Field(False, description="one GPU a worker")
    max_failures: int = Field(3, ge=0, description="worker deaths survived, each from the last epoch's checkpoint")

    @field_validator("dims")
    @classmethod
    def _fall(cls, dims: tuple[int, ...]) -> tuple[int, ...]:
        return falling(dims)

    @property
    def optimizer(self) -> OptimizerConfig:
        """The keys that every training has; all epochs are trained, since each validates on few pairs."""
        shared = OptimizerConfig.model_fields.keys() & MatryoshkaConfig.model_fields.keys()
        given = {name: getattr(self, name) for name in shared}
        return OptimizerConfig(**given, schedule="linear", patience=self.epochs)

    @property
    def spread(self) -> SpreadConfig:
        """Replicas on each worker."""
        return SpreadConfig(workers=self.workers, use_gpu=self.use_gpu, max_failures=self.max_failures)


class FineTuneOptimizerConfig(OptimizerConfig):
    """The optimiser of an encoder that is trained already: low rates, few epochs."""

    learning_rate: float = Field(5e-5, gt=0, lt=1, description="peak learning rate of the uppermost layer")
    epochs: int = Field(4, ge=1, description="most epochs to train, each of at most epoch_pairs")
    patience: int = Field(2, ge=1, description="epochs without a better validation MRR before training stops")


class FineTuneConfig(StageConfig):
    """Fine-tuning of the run's encoder on its training links, before anything is embedded."""

    pairs: Literal["links"] | None = Field(
        None, description="links: the encoder is fine-tuned on training links, and every later stage takes the result"
    )
    dims: tuple[int, ...] = Field(
        (), description="dimensions that are to be usable, largest first; unset: whole vectors alone"
    )
    batch_pairs: int = Field(256, ge=2, description="pairs in a worker's batch: each is a negative of all others")
    cached_texts: int = Field(
        64,
        ge=0,
        description="texts whose activations are in memory at once, whatever the batch; each is computed twice for "
        "that (gradient caching). 0 keeps the activations of the whole batch",
    )
    hard_negatives: int = Field(1, ge=0, description="near misses of the encoder so far, for each pair of a batch")
    near: int = Field(30, ge=1, description="nearest unlinked documents of each, from which near misses are drawn")
    mine_every: int = Field(1, ge=1, description="epochs after which near misses are searched anew")
    epoch_pairs: int = Field(
        50_000, ge=2, description="most pairs in an epoch, after which the encoder is judged; others follow in the next"
    )
    temperature: float = Field(0.05, gt=0, description="cosines are divided by it in the softmax")
    frozen_layers: int = Field(
        3, ge=0, description="lowest layers left as they are; above 0 the word embeddings are too"
    )
    top_epochs: int = Field(1, ge=0, description="first epochs that train the uppermost layer alone")
    layer_decay: float = Field(0.8, gt=0, le=1, description="a layer's learning rate as a share of the one above it")
    max_length: int = Field(128, ge=3, description="tokens read of a text in training, at most those the model reads")
    valid_links: int = Field(1000, ge=1, description="validation links ranked after each epoch, both ways")
    optimizer: FineTuneOptimizerConfig = Field(FineTuneOptimizerConfig(), description="how the encoder is trained")
    spread: SpreadConfig = Field(SpreadConfig(), description="over how many workers the training is spread")

    @field_validator("dims")
    @classmethod
    def _fall(cls, dims: tuple[int, ...]) -> tuple[int, ...]:
        return falling(dims)

    @field_validator("spread")
    @classmethod
    def _on_replicas(cls, spread: SpreadConfig) -> SpreadConfig:
        if spread.strategy != "ddp":
            raise ValueError(f"an encoder is fine-tuned on replicas, strategy: ddp, not {spread.strategy}")
        return spread


class FuseConfig(StageConfig):
    """How the attention of an ensemble is learned, by ``catena encoder fuse``."""

    learn_from: Literal["auto", "qrels", "links"] = Field(
        "auto",
        description="what belongs together: questions and their answers, or linked documents; auto takes questions "
        "where the corpus has them",
    )
    valid_share: float = Field(0.15, gt=0, lt=0.5, description="share of the questions that choose the best epoch")
    test_share: float = Field(0.15, gt=0, lt=0.5, description="share of the questions that judge the result, held out")
    epochs: int = Field(40, ge=1, description="most epochs to train")
    patience: int = Field(8, ge=1, description="epochs without a better validation nDCG@10 before training stops")
    batch_pairs: int = Field(128, ge=2, description="pairs in a batch; each one's other pairs are its negatives")
    learning_rate: float = Field(3e-3, gt=0, lt=1, description="of AdamW")
    weight_decay: float = Field(1e-3, ge=0, description="decoupled weight decay")
    temperature: float = Field(0.05, gt=0, le=1, description="similarities are divided by it before the softmax")
    max_documents: int = Field(
        20_000, ge=10, description="documents encoded: those of pairs, then others drawn to be looked through"
    )
    max_pairs: int = Field(50_000, ge=4, description="pairs learned from, drawn where there are more")
    seed: int = Field(0, ge=0, description="of splits, draws and shuffling")
