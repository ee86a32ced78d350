"""How the link model is built and trained."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from data.artifacts import StageConfig
from training.config import OptimizerConfig, SpreadConfig, TrackingConfig
from training.typed.config import TypedConfig


class TrainConfig(StageConfig):
    """Link model, loss, optimiser, and how many workers share the work."""

    execution: ClassVar[frozenset[str]] = frozenset({"max_failures", "experiment", "tracking_uri"})

    task: Literal["links", "typed"] = Field(
        "links", description="links: which documents belong together; typed: triples of a knowledge graph"
    )
    typed: TypedConfig = Field(TypedConfig(), description="the model of typed links, of task: typed")
    optimizer: OptimizerConfig = Field(OptimizerConfig(), description="how typed links are trained")
    spread: SpreadConfig = Field(SpreadConfig(), description="over how many workers the training is spread")
    hidden: int = Field(64, ge=8, description="width of the graph layers; a multiple of heads")
    layers: int = Field(2, ge=1, le=6, description="GATv2 layers")
    heads: int = Field(4, ge=1, description="attention heads of a graph layer")
    views: int = Field(4, ge=1, le=32, description="similarities of a pair that the node vectors are projected for")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout inside the graph layers")
    fan_out: tuple[int, ...] = Field((8, 4), min_length=1, description="neighbours sampled a node, one number a layer")
    loss: Literal["contrastive", "binary"] = Field(
        "contrastive", description="softmax over negatives, or cross entropy"
    )
    batch_links: int = Field(64, ge=2, description="links in a worker's batch")
    hard_negatives: int = Field(32, ge=0, description="near misses sought out for each link of a batch")
    epochs: int = Field(8, ge=1, description="most epochs to train")
    steps_per_epoch: int = Field(
        100, ge=1, description="most batches in an epoch; every link once where there are fewer"
    )
    patience: int = Field(5, ge=1, description="epochs without a better validation MRR before training stops")
    learning_rate: float = Field(3e-3, gt=0, lt=1, description="peak learning rate of AdamW")
    weight_decay: float = Field(1e-2, ge=0, description="decoupled weight decay")
    warmup_fraction: float = Field(0.1, ge=0, lt=1, description="share of all steps over which the rate rises")
    clip_norm: float = Field(1.0, gt=0, description="largest norm of the gradient")
    valid_links: int = Field(500, ge=1, description="validation links ranked after each epoch, both ways")
    seed: int = Field(0, ge=0, description="seed of weights, shuffling and sampling")
    ablation: bool = Field(
        False, description="also train the model without its views of the documents, to show what they add"
    )
    workers: int = Field(1, ge=1, description="Ray Train workers; more than one train data-parallel (DDP)")
    use_gpu: bool = Field(False, description="one GPU a worker")
    max_failures: int = Field(3, ge=0, description="worker deaths survived, each from the last epoch's checkpoint")
    experiment: str = Field("catena", description="MLflow experiment")
    tracking_uri: str | None = Field(None, description="MLflow store; SQLite in the workspace where unset")

    @model_validator(mode="after")
    def _sizes_fit_together(self) -> "TrainConfig":
        for name, parts in (("heads", self.heads), ("views", self.views)):
            if self.hidden % parts:
                raise ValueError(f"hidden ({self.hidden}) must be a multiple of {name} ({parts})")
        if len(self.fan_out) != self.layers:
            raise ValueError(f"fan_out needs one number a layer: {self.layers}, not {len(self.fan_out)}")
        if self.task == "links":  # whose optimiser and workers have keys of this section's own
            shared = OptimizerConfig.model_fields.keys() & TrainConfig.model_fields.keys()
            object.__setattr__(self, "optimizer", OptimizerConfig(**{name: getattr(self, name) for name in shared}))
            spread = SpreadConfig(workers=self.workers, use_gpu=self.use_gpu, max_failures=self.max_failures)
            object.__setattr__(self, "spread", spread)
        return self

    @property
    def tracking(self) -> TrackingConfig:
        """Where MLflow keeps the training."""
        return TrackingConfig(experiment=self.experiment, uri=self.tracking_uri)
