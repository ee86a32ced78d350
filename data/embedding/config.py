"""How embedding is spread and stored, how vectors are made smaller, and how token vectors are made: three sections."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from data.artifacts import StageConfig
from data.encoders.config import BATCH_TOKENS
from data.vectors.quantise import Storage

CORES_PER_ACTOR = 8  # with more, Python code between the matrix products leaves cores idle
TOKEN_PROJECTION = "token_projection.safetensors"  # its name in the late stage's artifact, and in the index's


class LateConfig(StageConfig):
    """How the vectors of a passage's tokens are made and kept; `embed` says how the work is spread."""

    dim: int = Field(96, ge=2, le=4096, description="dimensions a token's vector is brought to; at most the model's")
    method: Literal["pca", "random"] = Field(
        "pca", description="fewer dimensions by PCA on a sample of the tokens, or by a random projection"
    )
    storage: Storage = Field("float16", description="of a token's vector on disk, as `reduce.storage`")
    max_tokens: int | None = Field(
        None, ge=1, description="tokens kept of a passage, its first ones; as many as the model reads where unset"
    )
    sample_passages: int = Field(256, ge=1, description="passages whose tokens PCA is fitted on, drawn at random")
    seed: int = Field(0, ge=0, description="seed of the sample, of the rotation after PCA and of the random projection")


class EmbedConfig(StageConfig):
    """How the embedding is spread over cores and machines, which changes nothing in it, and how vectors are stored."""

    execution: ClassVar[frozenset[str]] = frozenset(
        {"batch_tokens", "actors", "min_actors", "cores_per_actor", "gpus_per_actor", "queued", "start_timeout_s"}
    )

    batch_tokens: int = Field(
        BATCH_TOKENS, ge=1, description="largest padded area of a batch, in tokens; GPUs want more (65536)"
    )
    actors: int | None = Field(
        None,
        ge=1,
        description="most processes that hold an encoder; as many as the present GPUs or cores allow where unset: "
        "set it on a cluster that grows",
    )
    min_actors: int | None = Field(
        None,
        ge=1,
        description="processes to begin with, where the pool may grow up to `actors` while partitions wait and "
        "shrink again; all of them at once where unset",
    )
    cores_per_actor: int | None = Field(
        None, ge=1, description=f"cores of an actor without a GPU; those of a machine, at most {CORES_PER_ACTOR}"
    )
    gpus_per_actor: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of a GPU that an actor takes: 0.5 puts two encoders on each; 0 stays off the GPUs; a whole "
        "one where the cluster has any, if unset. Set, it also asks a group of machines that is still at zero for one",
    )
    storage: Literal["float32", "float16"] = Field(
        "float32", description="of the vectors; the section `reduce` has smaller ones, and fewer dimensions"
    )
    queued: int = Field(3, ge=2, description="partitions handed to an actor at once, so that it never waits for one")
    start_timeout_s: int = Field(
        900, ge=1, description="how long to wait for a first machine that an actor fits on, in seconds"
    )

    @model_validator(mode="after")
    def _min_below_max(self) -> "EmbedConfig":
        if self.min_actors is not None and self.actors is not None and self.min_actors > self.actors:
            raise ValueError(f"min_actors is at most actors ({self.actors}), got {self.min_actors}")
        return self


class ReduceConfig(StageConfig):
    """How vectors are made smaller before they are indexed; with none and float32 there is nothing to do."""

    method: Literal["none", "pca", "random", "matryoshka"] = Field(
        "none",
        description="fewer dimensions by PCA on a sample, by a random projection, or by taking the first (for an "
        "encoder trained with Matryoshka loss)",
    )
    dim: int | None = Field(None, ge=1, description="dimensions that are left; needed by every method but none")
    sample_rows: int = Field(100_000, ge=1, description="passages that PCA is fitted on, drawn at random")
    seed: int = Field(0, ge=0, description="seed of the sample, of the rotation after PCA and of the random projection")
    storage: Storage = Field(
        "float32",
        description="of the vectors; float8 (e4m3) and int8 take a byte a dimension, binary a bit",
    )

    @property
    def active(self) -> bool:
        """Whether there is anything to do."""
        return self.method != "none" or self.storage != "float32"

    @model_validator(mode="after")
    def _method_has_dim(self) -> Self:
        if (self.method == "none") != (self.dim is None):
            raise ValueError(f"method '{self.method}' {'takes no' if self.method == 'none' else 'needs'} `dim`")
        return self
