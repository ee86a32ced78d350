"""What every training is told in the same words: its optimiser, how it is spread over workers, where it is tracked."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from data.artifacts import StageConfig


class OptimizerConfig(StageConfig):
    """The optimiser, its learning rate over time, when training stops, and in which precision it computes."""

    execution: ClassVar[frozenset[str]] = frozenset({"compile", "checkpoint_activations"})

    kind: Literal["adamw", "adagrad"] = Field(
        "adamw", description="adagrad suits decoders of typed links, with a learning rate of about 0.1"
    )
    learning_rate: float = Field(3e-3, gt=0, lt=1, description="peak learning rate")
    weight_decay: float = Field(1e-2, ge=0, description="decoupled weight decay; Adagrad adds it to the gradient")
    warmup_fraction: float = Field(0.1, ge=0, lt=1, description="share of all steps over which the rate rises")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        "cosine",
        description="how the rate goes after the warm-up: falls to zero along half a cosine or a line, or stays",
    )
    clip_norm: float = Field(1.0, gt=0, description="largest norm of the gradient")
    epochs: int = Field(12, ge=1, description="most epochs to train")
    patience: int = Field(5, ge=1, description="epochs without a better validation score before training stops")
    accumulate: int = Field(1, ge=1, description="batches whose gradients are averaged for one step of the optimiser")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="bf16 computes matrix products in bfloat16; weights and optimiser stay in float32"
    )
    compile: bool = Field(False, description="compile the model with torch.compile; the first steps take minutes")
    checkpoint_activations: bool = Field(
        False, description="compute activations again in the backward pass instead of keeping them: less memory, slower"
    )
    seed: int = Field(0, ge=0, description="seed of weights, shuffling, sampling and dropout")


class SpreadConfig(StageConfig):
    """How many workers train one model, what each of them holds of it, and how their deaths are survived."""

    execution: ClassVar[frozenset[str]] = frozenset({"max_failures", "checkpoint_every"})

    workers: int = Field(1, ge=1, description="Ray Train workers")
    use_gpu: bool = Field(False, description="one GPU a worker")
    strategy: Literal["ddp", "fsdp"] = Field(
        "ddp", description="ddp: every worker holds the whole model; fsdp: each holds a part of it (FSDP2)"
    )
    shard: Literal["full", "gradients"] = Field(
        "full",
        description="with fsdp: full splits the weights too, gathered twice a step; gradients gathers them once and "
        "keeps them until its end",
    )
    offload: bool = Field(False, description="with fsdp: keep weights, gradients and optimiser in the CPU's memory")
    max_failures: int = Field(3, ge=0, description="deaths of workers survived, each from the last checkpoint")
    checkpoint_every: float = Field(
        1.0, gt=0, description="epochs from one checkpoint to the next; 0.25 saves four times in each epoch"
    )

    @model_validator(mode="after")
    def _shards_need_fsdp(self) -> "SpreadConfig":
        if self.strategy != "fsdp" and (self.shard != "full" or self.offload):
            raise ValueError(f"shard and offload belong to strategy: fsdp, not to {self.strategy}")
        if self.checkpoint_every > 1 and self.checkpoint_every != int(self.checkpoint_every):
            raise ValueError(f"checkpoint_every above 1 must be a whole number of epochs, got {self.checkpoint_every}")
        return self


class TrackingConfig(StageConfig):
    """Where MLflow keeps the training, and under which name its registry gets the model."""

    execution: ClassVar[frozenset[str]] = frozenset({"experiment", "uri", "register_as"})

    experiment: str = Field("catena", min_length=1, description="MLflow experiment")
    uri: str | None = Field(None, description="MLflow store; SQLite in the workspace where unset")
    register_as: str | None = Field(
        None, min_length=1, description="name of the model in the registry; the run's where unset"
    )
